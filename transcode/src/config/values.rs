//! Values that may be written in more than one way: `"1500k"`, `"off"` or a number, `"auto"` or a list.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::hardware::Backend;

/// Bits a second, written as `"1500k"`, `"2.5M"` or a plain number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Bitrate(pub u32);

/// A text that is no bitrate.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no bitrate: write \"1500k\", \"2.5M\" or bits a second up to 4000000000")]
pub struct NoBitrate(String);

impl FromStr for Bitrate {
    type Err = NoBitrate;

    fn from_str(text: &str) -> Result<Self, NoBitrate> {
        let (number, unit) = match text.trim().char_indices().next_back() {
            Some((at, 'k' | 'K')) => (&text.trim()[..at], 1e3),
            Some((at, 'm' | 'M')) => (&text.trim()[..at], 1e6),
            _ => (text.trim(), 1.0),
        };
        let bits = number.trim_end().parse::<f64>().map(|number| (number * unit).round());
        match bits {
            Ok(bits) if (0.0..=4e9).contains(&bits) => Ok(Self(bits as u32)),
            _ => Err(NoBitrate(text.into())),
        }
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bits if bits.is_multiple_of(1_000) => write!(f, "{}k", bits / 1_000),
            bits => write!(f, "{bits}"),
        }
    }
}

impl Serialize for Bitrate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bitrate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl Visitor<'_> for Written {
            type Value = Bitrate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a bitrate such as \"1500k\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Bitrate, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, bits: u64) -> Result<Bitrate, E> {
                self.visit_str(&bits.to_string())
            }

            fn visit_i64<E: Error>(self, bits: i64) -> Result<Bitrate, E> {
                self.visit_str(&bits.to_string())
            }

            fn visit_f64<E: Error>(self, bits: f64) -> Result<Bitrate, E> {
                self.visit_str(&bits.to_string())
            }
        }
        deserializer.deserialize_any(Written)
    }
}

/// `"off"`, or a number.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct OffOr(pub Option<f64>);

impl Serialize for OffOr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(number) => serializer.serialize_f64(number),
            None => serializer.serialize_str("off"),
        }
    }
}

impl<'de> Deserialize<'de> for OffOr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl Visitor<'_> for Written {
            type Value = OffOr;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"off\" or a number")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<OffOr, E> {
                match (text, text.parse()) {
                    ("off", _) => Ok(OffOr(None)),
                    (_, Ok(number)) => Ok(OffOr(Some(number))),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_bool<E: Error>(self, on: bool) -> Result<OffOr, E> {
                match on {
                    false => Ok(OffOr(None)),
                    true => Err(E::invalid_value(serde::de::Unexpected::Bool(on), &self)),
                }
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<OffOr, E> {
                Ok(OffOr(Some(number as f64)))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<OffOr, E> {
                Ok(OffOr(Some(number as f64)))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<OffOr, E> {
                Ok(OffOr(Some(number)))
            }
        }
        deserializer.deserialize_any(Written)
    }
}

/// `"auto"`, or backends in the order in which they are tried: `["nvidia", "software"]` or `"nvidia,software"`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Backends(pub Option<Vec<Backend>>);

impl FromStr for Backends {
    type Err = crate::hardware::UnknownBackend;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inner = text.trim().trim_start_matches('[').trim_end_matches(']').trim();
        if matches!(inner, "auto") {
            return Ok(Self(None));
        }
        let names =
            inner.split(',').map(|name| name.trim().trim_matches('"')).filter(|name| !name.is_empty());
        names.map(str::parse).collect::<Result<_, _>>().map(|list| Self(Some(list)))
    }
}

impl Serialize for Backends {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(list) => list.serialize(serializer),
            None => serializer.serialize_str("auto"),
        }
    }
}

impl<'de> Deserialize<'de> for Backends {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl<'de> Visitor<'de> for Written {
            type Value = Backends;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"auto\" or a list such as [\"nvidia\", \"software\"]")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Backends, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Backends, A::Error> {
                let mut list = Vec::new();
                while let Some(name) = seq.next_element::<String>()? {
                    list.push(name.parse().map_err(A::Error::custom)?);
                }
                Ok(Backends(Some(list)))
            }
        }
        deserializer.deserialize_any(Written)
    }
}

/// `"auto"`, or one value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AutoOr<T>(pub Option<T>);

impl<T> Default for AutoOr<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Serialize> Serialize for AutoOr<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(value) => value.serialize(serializer),
            None => serializer.serialize_str("auto"),
        }
    }
}

impl<'de, T: serde::de::DeserializeOwned> Deserialize<'de> for AutoOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        if word == "auto" {
            return Ok(Self(None));
        }
        T::deserialize(serde::de::value::StringDeserializer::new(word)).map(|value| Self(Some(value)))
    }
}

/// A span such as `"5s"`, or `"off"` for none.
pub(super) mod off_or_span {
    use std::time::Duration;

    use serde::de::{Deserialize as _, Deserializer, Error as _};
    use serde::ser::{Serialize as _, Serializer};

    pub(in crate::config) fn serialize<S: Serializer>(
        span: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match span.is_zero() {
            true => serializer.serialize_str("off"),
            false => humantime_serde::Serde::from(*span).serialize(serializer),
        }
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "off" {
            return Ok(Duration::ZERO);
        }
        let span = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(&text);
        humantime_serde::deserialize(span)
            .map_err(|_| D::Error::custom(format!("{text:?} is neither a span such as \"5s\" nor \"off\"")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitrates_are_read_as_people_write_them() {
        for (text, bits) in [("1500k", 1_500_000), ("2.5M", 2_500_000), ("64000", 64_000), (" 96 k ", 96_000)]
        {
            assert_eq!(text.parse(), Ok(Bitrate(bits)), "{text}");
        }
        for text in ["", "k", "-1k", "fast", "5G", "9e9M", "NaN"] {
            assert!(text.parse::<Bitrate>().is_err(), "{text}");
        }
        assert_eq!(serde_json::from_str::<Bitrate>("128000").unwrap(), Bitrate(128_000));
        assert_eq!(Bitrate(1_500_000).to_string(), "1500k");
    }

    #[test]
    fn backends_are_auto_or_a_list_in_either_form() {
        let list = Backends(Some(vec![Backend::Nvidia, Backend::Software]));
        for text in ["\"nvidia,software\"", "\"[nvidia, software]\"", "[\"nvidia\", \"software\"]"] {
            assert_eq!(serde_json::from_str::<Backends>(text).unwrap(), list, "{text}");
        }
        assert_eq!(serde_json::from_str::<Backends>("\"auto\"").unwrap(), Backends(None));
        let error = serde_json::from_str::<Backends>("[\"voodoo\"]").unwrap_err().to_string();
        assert!(error.contains("\"voodoo\" is no backend; there are software, nvidia"), "{error}");
    }

    #[test]
    fn off_or_a_number_is_read_in_every_form_that_toml_and_flags_give() {
        for (text, value) in
            [("\"off\"", None), ("false", None), ("-16", Some(-16.0)), ("\"-23.5\"", Some(-23.5))]
        {
            assert_eq!(serde_json::from_str::<OffOr>(text).unwrap(), OffOr(value), "{text}");
        }
        assert!(serde_json::from_str::<OffOr>("\"loud\"").is_err());
    }
}
