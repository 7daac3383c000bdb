//! Reads settings: file under environment under `--set`, each over the defaults. Errors name file, line and key.

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Toml};
use figment::value::{Dict, Value};

use super::locate::{Place, key_in_text, line_of};
use super::{Config, Plan, Tls, default_data_dir};
use crate::cli::Settings;

/// Why a configuration was refused; `Display` says where it is and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{place}: not TOML: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser says.
        message: String,
    },
    /// A key is unknown, or its value has the wrong type or form.
    #[error("{place}: {message}")]
    Value {
        /// Where.
        place: Place,
        /// What is wrong and what would be right.
        message: String,
    },
}

/// Reads, merges and checks all settings. Opens nothing but the configuration file.
pub fn load(settings: &Settings) -> Result<Plan, ConfigError> {
    let text = settings.config.as_deref().map(read).transpose()?;
    let source = Source { file: settings.config.as_deref(), text: text.as_deref().unwrap_or_default() };
    let mut figment = Figment::new().merge(Toml::string(source.text));
    figment = figment.merge(
        Env::prefixed("AQUEDUCT_")
            .ignore(&["CONFIG", "LOG", "LOG_FORMAT"])
            .map(|key| key.as_str().replace("__", ".").to_ascii_lowercase().into()),
    );
    for (key, value) in &settings.set {
        figment = figment.merge((key.as_str(), parse_value(value)));
    }
    let config = figment.extract::<Config>().map_err(|error| source.explain(&error))?;
    plan(config).map_err(|message| {
        let key = key_in_text(&message);
        ConfigError::Value { place: source.place(key.as_deref()), message }
    })
}

fn read(file: &Path) -> Result<String, ConfigError> {
    let unreadable = |error| ConfigError::Unreadable { file: file.to_owned(), error };
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    match text.parse::<toml_edit::Document<String>>() {
        Ok(_) => Ok(text),
        Err(error) => {
            let line = error.span().map(|span| text[..span.start.min(text.len())].lines().count().max(1));
            let place = Place { file: Some(file.to_owned()), line, key: None };
            Err(ConfigError::Syntax { place, message: error.message().to_owned() })
        }
    }
}

/// The text of `--set` as TOML would read it; anything else is a string.
fn parse_value(text: &str) -> Value {
    let parsed = Toml::string(&format!("value = {text}"));
    let value = figment::Provider::data(&parsed).ok().and_then(|profiles| {
        let mut dict: Dict = profiles.into_values().next()?;
        dict.remove("value")
    });
    value.unwrap_or_else(|| Value::from(text))
}

fn plan(config: Config) -> Result<Plan, String> {
    match (&config.tls.cert, &config.tls.key) {
        (Some(_), None) => return Err("tls.key is missing: tls.cert needs its private key".into()),
        (None, Some(_)) => return Err("tls.cert is missing: tls.key needs its certificate".into()),
        _ => {}
    }
    let Config { data_dir, stop, ingest, packager, edge, tls, admin } = config;
    Ok(Plan {
        data_dir: data_dir.unwrap_or_else(|| default_data_dir(|name| std::env::var(name).ok())),
        deadline: stop.deadline,
        ingest: ingest.try_into().map_err(|error: aqueduct_ingest::ConfigError| error.to_string())?,
        packager: packager.try_into().map_err(|error: aqueduct_packager::ConfigError| error.to_string())?,
        edge: edge.try_into().map_err(|error: aqueduct_edge::ConfigError| error.to_string())?,
        tls: Tls { ..tls },
        admin: admin.listen,
    })
}

/// The configuration file, for saying where in it something stands.
struct Source<'a> {
    file: Option<&'a Path>,
    text: &'a str,
}

impl Source<'_> {
    fn explain(&self, error: &figment::Error) -> ConfigError {
        let mut path = error.path.clone();
        let message = match &error.kind {
            figment::error::Kind::UnknownField(name, expected) => {
                if path.last() != Some(name) {
                    path.push(name.clone());
                }
                let known: Vec<&str> = expected.to_vec();
                format!("unknown key; known here: {}", known.join(", "))
            }
            kind => kind.to_string(),
        };
        ConfigError::Value { place: self.place(Some(&path.join("."))), message }
    }

    /// A key that the file does not hold came from the environment or a flag.
    fn place(&self, key: Option<&str>) -> Place {
        let line = key.and_then(|key| line_of(self.text, key));
        let file = line.and(self.file).map(Path::to_owned);
        Place { file, line, key: key.map(str::to_owned) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(text: &str, set: &[(&str, &str)]) -> Result<Plan, String> {
        let dir = std::env::temp_dir().join(format!("aqueduct-config-{}-{:p}", std::process::id(), text));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("aqueduct.toml");
        std::fs::write(&file, text).unwrap();
        let set = set.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let settings = Settings { config: Some(file), set, ..Settings::default() };
        let plan =
            load(&settings).map_err(|error| error.to_string().replace(&format!("{}/", dir.display()), ""));
        std::fs::remove_dir_all(&dir).unwrap();
        plan
    }

    #[test]
    fn the_printed_default_file_sets_nothing_and_names_only_keys_that_exist() {
        loaded(super::super::DEFAULT_FILE, &[]).unwrap();
        let uncommented: String = super::super::DEFAULT_FILE
            .lines()
            .map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n")
            .collect();
        loaded(&uncommented, &[]).unwrap();
        assert_ne!(uncommented, super::super::DEFAULT_FILE);
    }

    #[test]
    fn flags_stand_over_the_file() {
        let plan = loaded("[admin]\nlisten = \"127.0.0.1:1\"\n", &[("admin.listen", "127.0.0.1:2")]).unwrap();
        assert_eq!(plan.admin.port(), 2);
    }

    #[test]
    fn an_error_names_file_line_and_key() {
        for (text, expected) in [
            ("[admin]\n\nlisten = 7\n", "aqueduct.toml:3: admin.listen: "),
            ("[packager]\nparts = \"1s\"\n", "aqueduct.toml:2: packager.parts: unknown key; known here: "),
            ("a = [\n", "aqueduct.toml:1: not TOML: "),
            ("[tls]\ncert = \"x\"\n", "aqueduct.toml:1: tls.key: tls.key is missing"),
            ("[packager]\n# parts\npart = \"5s\"\n", "aqueduct.toml:3: packager.part: "),
        ] {
            let error = loaded(text, &[]).unwrap_err();
            assert!(error.starts_with(expected), "{error:?} should start with {expected:?}");
        }
        let error = loaded("", &[("packager.part", "never")]).unwrap_err();
        assert!(error.starts_with("packager.part: "), "{error}");
    }
}
