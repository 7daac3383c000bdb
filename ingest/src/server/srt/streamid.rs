//! What an SRT caller shows in its stream id (AUTH-2, AUTH-32): pure.
//!
//! `#!::r=live/show,m=publish,s=SECRET`, `publish:live/show:USER:SECRET`, or what an encoder would put into RTMP's key field:
//! `live/show?key=SECRET`, `show?key=SECRET`, a key alone.

use crate::keys::Credentials;

/// The app of a name that says none.
const APP: &str = "live";
/// Longest stream id (SRT's own limit).
const LONGEST: usize = 512;

/// Why a stream id cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadId {
    /// There is none, or it names nothing.
    #[error("no stream id: set streamid=live/NAME?key=SECRET")]
    Missing,
    /// It is longer than SRT allows.
    #[error("the stream id is longer than 512 bytes")]
    TooLong,
    /// It asks for something else than to publish.
    #[error("only publishing is possible over SRT: set m=publish in the stream id")]
    Mode,
}

/// The credentials of a stream id.
///
/// # Errors
/// When it names no stream or asks for something else than to publish.
pub fn credentials(id: Option<&str>) -> Result<Credentials, BadId> {
    let id = id.map_or("", str::trim);
    if id.len() > LONGEST {
        return Err(BadId::TooLong);
    }
    let (resource, key) = if let Some(pairs) = id.strip_prefix("#!::") {
        standard(pairs)?
    } else if let Some(rest) = id.strip_prefix("publish:") {
        // Path, user and password; whoever leaves the user out has two parts.
        let mut parts = rest.split(':');
        let path = parts.next().unwrap_or_default();
        (path.to_owned(), parts.rfind(|part| !part.is_empty()).map(str::to_owned))
    } else if id.starts_with("read:") || id.starts_with("request:") || id.starts_with("play:") {
        return Err(BadId::Mode);
    } else {
        (id.to_owned(), None)
    };
    let resource = resource.trim_start_matches('/');
    if resource.is_empty() {
        return Err(BadId::Missing);
    }
    let app = if resource.split('?').next().is_some_and(|path| path.contains('/')) { "" } else { APP };
    let name = match key {
        Some(key) if resource.contains('?') => format!("{resource}&key={}", escaped(&key)),
        Some(key) => format!("{resource}?key={}", escaped(&key)),
        None => resource.to_owned(),
    };
    Ok(Credentials::new(None, app, &name))
}

/// Pairs of the standard form (SRT access control guidelines): resource and secret.
fn standard(pairs: &str) -> Result<(String, Option<String>), BadId> {
    let (mut resource, mut key) = (String::new(), None);
    for (name, value) in pairs.split(',').filter_map(|pair| pair.split_once('=')) {
        match name {
            "r" => value.clone_into(&mut resource),
            "m" if value != "publish" => return Err(BadId::Mode),
            "s" | "key" if !value.is_empty() => key = Some(value.to_owned()),
            _ => {}
        }
    }
    Ok((resource, key))
}

/// So that whatever stands in a key is one parameter of a query.
fn escaped(key: &str) -> String {
    key.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::{KeyEntry, KeyRing};

    const KEY: &str = "show-key-0123456789&=,";

    fn check(id: &str) -> Result<String, String> {
        let ring = KeyRing::new(&[KeyEntry::new("live/show".parse().unwrap(), KEY)], &[]).unwrap();
        let credentials = credentials(Some(id)).map_err(|error| error.to_string())?;
        ring.check(&credentials, false)
            .map(|stream| stream.to_string())
            .map_err(|error| error.label().to_owned())
    }

    #[test]
    fn every_usual_form_names_a_stream_and_its_key() {
        let plain = KEY.replace(['&', '=', ','], "");
        let ring = KeyRing::new(&[KeyEntry::new("live/show".parse().unwrap(), &plain)], &[]).unwrap();
        for id in [
            format!("live/show?key={plain}"),
            format!("/live/show?key={plain}"),
            format!("show?key={plain}"),
            format!("#!::r=live/show,m=publish,u=me,s={plain}"),
            format!("#!::m=publish,key={plain},r=/live/show"),
            format!("#!::r=show?a=b,s={plain}"),
            format!("publish:live/show:me:{plain}"),
            format!("publish:live/show:{plain}"),
            plain.clone(),
        ] {
            let credentials = credentials(Some(&id)).unwrap();
            assert_eq!(
                ring.check(&credentials, false).map(|stream| stream.to_string()),
                Ok("live/show".into()),
                "{id}"
            );
            assert!(!format!("{credentials:?}").contains(&plain), "{credentials:?}");
        }
        assert_eq!(check(&format!("publish:live/show:me:{KEY}")), Ok("live/show".into()));
    }

    #[test]
    fn what_does_not_publish_is_refused() {
        assert_eq!(credentials(None).err(), Some(BadId::Missing));
        for (id, error) in [
            ("", BadId::Missing),
            ("#!::m=publish", BadId::Missing),
            ("#!::m=request,r=live/show", BadId::Mode),
            ("read:live/show", BadId::Mode),
        ] {
            assert_eq!(credentials(Some(id)).err(), Some(error), "{id}");
        }
        assert_eq!(credentials(Some(&"a".repeat(513))).err(), Some(BadId::TooLong));
        assert_eq!(check("live/show?key=wrong"), Err("bad_key".into()));
        assert_eq!(check("live/show"), Err("bad_key".into()));
    }

    proptest! {
        #[test]
        fn no_text_panics(id in ".{0,80}", form in 0..3_usize) {
            let _ = credentials(Some(&format!("{}{id}", ["", "#!::", "publish:"][form])));
        }
    }
}
