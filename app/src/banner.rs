//! What the program prints when it has started: where to push, where to watch.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use aqueduct_common::Secret;

use crate::wire::Addresses;

/// The publish key to show: made by this start, or only known to exist.
#[derive(Debug)]
pub enum ShownKey {
    /// Made now; shown only this once.
    New(Secret),
    /// Made by an earlier start: only its hash is kept.
    Kept,
    /// The configuration has keys of its own.
    Configured,
}

/// The banner's text.
pub fn text(addresses: &Addresses, key: Option<&ShownKey>) -> String {
    let here = outward_address();
    let mut out = format!("\n  Aqueduct {}\n\n", env!("CARGO_PKG_VERSION"));
    for (index, (scheme, address)) in addresses.ingest.iter().enumerate() {
        let label = if index == 0 { "Push " } else { "     " };
        let (what, name) = if *scheme == "rtsp" { ("RTSP URL  ", "/show") } else { ("OBS server", "") };
        let at = shown(*address, here, if *scheme == "rtsp" { &[554] } else { &[1935] });
        // Writing into a String does not fail.
        // The stream stands in an address of SRT, and behind one of RTMP.
        let behind = if *scheme == "srt" { "?streamid=live/show" } else { "/live" };
        let _ = writeln!(out, "  {label}  {what}  {scheme}://{at}{behind}{name}");
    }
    key.into_iter().for_each(|key| say_key(&mut out, key));
    for (index, origin) in addresses.origins.iter().enumerate() {
        let _ = writeln!(out, "  {}  {origin}", if index == 0 { "From " } else { "     " });
    }
    for (index, (scheme, address)) in addresses.edge.iter().enumerate() {
        let label = if index == 0 { "Watch" } else { "     " };
        let _ = writeln!(out, "  {label}  {scheme}://{}/watch/live/show", shown(*address, here, &[80, 443]));
    }
    if let Some((address, token)) = &addresses.relay {
        let token = token.as_ref().filter(|_| !address.ip().is_loopback());
        let token = token.map(|token| format!(" --token {token}")).unwrap_or_default();
        let _ = writeln!(out, "  Edges  aqueduct edge --origin {}{token}", shown(*address, here, &[]));
    }
    if let Some(admin) = addresses.admin {
        let _ = writeln!(out, "  Admin  http://{}/", shown(admin, here, &[80]));
        if let Some(password) = &addresses.admin_password {
            let password = password.expose();
            let _ = writeln!(
                out,
                "         password    {password}\n                     (made now and shown this once)"
            );
        }
    }
    out.push('\n');
    out
}

fn say_key(out: &mut String, key: &ShownKey) {
    // Writing into a String does not fail.
    let _ = match key {
        ShownKey::New(secret) => {
            let secret = secret.expose();
            writeln!(
                out,
                "         OBS key     show?key={secret}\n                     (made now and shown this once; `show` is the stream's name)"
            )
        }
        ShownKey::Kept => {
            writeln!(
                out,
                "         OBS key     show?key=…  (made by the first start; `aqueduct key new` makes another)"
            )
        }
        ShownKey::Configured => writeln!(out, "         OBS key     show?key=…  (one of ingest.keys)"),
    };
    if !matches!(key, ShownKey::Configured) {
        let _ = writeln!(out, "                     from this machine the key `show` alone will do");
    }
}

/// An address as somebody on this network can use it. `usual`: ports that need not be said.
pub fn reachable(address: SocketAddr, usual: &[u16]) -> String {
    shown(address, outward_address(), usual)
}

/// An address as a person can use it: a listener on every address is shown as this machine's own.
fn shown(address: SocketAddr, here: Option<IpAddr>, usual: &[u16]) -> String {
    let ip = if address.ip().is_unspecified() { here } else { Some(address.ip()) };
    let host = match ip {
        Some(ip) if ip.is_loopback() => "localhost".to_owned(),
        Some(IpAddr::V6(ip)) => format!("[{ip}]"),
        Some(IpAddr::V4(ip)) => ip.to_string(),
        None => "localhost".to_owned(),
    };
    if usual.contains(&address.port()) { host } else { format!("{host}:{}", address.port()) }
}

/// The address this machine would use to reach others. Connecting a datagram socket sends nothing.
fn outward_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Addresses {
        Addresses {
            ingest: vec![("rtmp", "127.0.0.1:1935".parse().unwrap())],
            edge: vec![("http", "127.0.0.1:8080".parse().unwrap()), ("https", "[::1]:8443".parse().unwrap())],
            relay: None,
            origins: Vec::new(),
            admin: Some("127.0.0.1:8081".parse().unwrap()),
            admin_password: None,
        }
    }

    #[test]
    fn the_banner_says_where_to_push_and_watch_as_obs_wants_it_pasted() {
        let text = text(&addresses(), Some(&ShownKey::New(Secret::new("aq_secret".into()))));
        for line in [
            "rtmp://localhost/live",
            "show?key=aq_secret",
            "http://localhost:8080/watch/live/show",
            "https://localhost:8443",
        ] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
    }

    #[test]
    fn an_old_key_is_not_shown_again() {
        assert!(text(&addresses(), Some(&ShownKey::Kept)).contains("aqueduct key new"));
    }
}
