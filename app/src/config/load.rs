//! Reads settings: file under environment under `--set`, each over the defaults. Errors name file, line and key.

use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};

use super::locate::{Place, SECTIONS, key_in_text, line_at, line_of};
use super::words;
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

/// What begins the names of our environment variables.
const PREFIX: &str = "AQUEDUCT_";
/// Variables that the command line reads by itself.
const OF_FLAGS: [&str; 3] = ["AQUEDUCT_CONFIG", "AQUEDUCT_LOG", "AQUEDUCT_LOG_FORMAT"];

/// Reads, merges and checks all settings. Opens nothing but the configuration file.
pub fn load(settings: &Settings) -> Result<Plan, ConfigError> {
    load_with(
        settings,
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
    )
}

/// Reads and checks one file alone, as it stands.
pub fn load_file(file: &Path) -> Result<Plan, ConfigError> {
    let settings = Settings { config: Some(file.to_owned()), ..Settings::default() };
    load_with(&settings, std::iter::empty())
}

fn load_with(
    settings: &Settings,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<Plan, ConfigError> {
    let text = settings.config.as_deref().map(read).transpose()?;
    let variables: Vec<_> =
        variables.filter_map(|(name, value)| Some((key_of(&name)?, name, value))).collect();
    let mut figment = Figment::new().merge(Toml::string(text.as_deref().unwrap_or_default()));
    let flags = settings.set.iter().map(|(key, value)| (key, value));
    for (key, value) in variables.iter().map(|(key, _, value)| (key, value)).chain(flags) {
        figment = figment.merge((key.as_str(), parse_value(value)));
    }
    let source = Source {
        file: settings.config.as_deref(),
        text: text.as_deref().unwrap_or_default(),
        flags: &settings.set,
        variables: &variables,
    };
    let config = figment.extract::<Config>().map_err(|error| source.explain(&error))?;
    plan(config).map_err(|message| {
        let key = key_in_text(&message);
        let (message, place) = named_once(message, source.place(key.as_deref()));
        ConfigError::Value { message, place }
    })
}

/// Where a message begins with the key that its place names as well, one of them goes.
fn named_once(message: String, mut place: Place) -> (String, Place) {
    let (Place::File { key: Some(key), .. } | Place::Flag(key) | Place::Nowhere(Some(key))) = &place else {
        return (message, place);
    };
    let Some(rest) = message.strip_prefix(key.as_str()) else { return (message, place) };
    if let Some(rest) = rest.strip_prefix(": ") {
        return (rest.to_owned(), place);
    }
    if let (true, Place::File { key, .. }) = (rest.starts_with(' '), &mut place) {
        *key = None;
    }
    (message, place)
}

/// The key that a variable sets: `AQUEDUCT_PACKAGER__PART` is `packager.part`. Others that begin alike are not ours:
/// Kubernetes makes `AQUEDUCT_PORT` for a service of that name.
fn key_of(name: &str) -> Option<String> {
    let rest = name.strip_prefix(PREFIX).filter(|_| !OF_FLAGS.contains(&name))?;
    let key = rest.replace("__", ".").to_ascii_lowercase();
    let known =
        key == "data_dir" || key == "stream" || SECTIONS.iter().any(|section| key.starts_with(section));
    if !known {
        tracing::debug!(name, "this variable is none of ours");
    }
    known.then_some(key)
}

fn read(file: &Path) -> Result<String, ConfigError> {
    let unreadable = |error| ConfigError::Unreadable { file: file.to_owned(), error };
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    match text.parse::<toml_edit::Document<String>>() {
        Ok(_) => Ok(text),
        Err(error) => {
            let line = error.span().map(|span| line_at(&text, span.start));
            let place = Place::File { file: file.to_owned(), line, key: None };
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
    if config.stop.deadline.is_zero() {
        return Err("stop.deadline is 0, which would cut every viewer off: set it to 1s or more".into());
    }
    let Config {
        data_dir,
        stop,
        ingest,
        transcode,
        packager,
        edge,
        relay,
        cluster,
        steering,
        tls,
        admin,
        stream,
        analytics,
    } = config;
    Ok(Plan {
        data_dir: data_dir.unwrap_or_else(|| default_data_dir(|name| std::env::var(name).ok())),
        deadline: stop.deadline,
        ingest: ingest.try_into().map_err(|error: aqueduct_ingest::ConfigError| error.to_string())?,
        transcode: transcode
            .try_into()
            .map_err(|error: aqueduct_transcode::config::ConfigError| error.to_string())?,
        packager: aqueduct_packager::Plan::try_from(packager)
            .map_err(|error| error.to_string())?
            .steered(steering.enabled),
        edge: edge.try_into().map_err(|error: aqueduct_edge::ConfigError| error.to_string())?,
        relay: relay.try_into().map_err(|error: aqueduct_edge::relay::ConfigError| error.to_string())?,
        cluster: cluster
            .try_into()
            .map_err(|error: aqueduct_edge::cluster::ConfigError| error.to_string())?,
        steering: steered(steering, stop.deadline)?,
        tls: Tls { ..tls },
        admin: admin.plan()?,
        analytics: analytics.plan()?,
        streams: stream.try_into()?,
    })
}

/// The steering, where a stop leaves players the time to hear of it.
fn steered(
    config: aqueduct_edge::steering::Config,
    deadline: Duration,
) -> Result<aqueduct_edge::steering::Plan, String> {
    let plan = aqueduct_edge::steering::Plan::try_from(config).map_err(|error| error.to_string())?;
    let least = plan.leave() + Duration::from_secs(3);
    if plan.is_enabled() && plan.own().is_some() && deadline < least {
        return Err(format!(
            "stop.deadline is {deadline:?}, which ends before players have heard that they are to go elsewhere \
             (steering.ttl): set it to {least:?} or more"
        ));
    }
    Ok(plan)
}

/// Where settings came from, for saying where one stands.
struct Source<'a> {
    file: Option<&'a Path>,
    text: &'a str,
    flags: &'a [(String, String)],
    /// Key, name and value.
    variables: &'a [(String, String, String)],
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
            figment::error::Kind::MissingField(name) => {
                path.push(name.to_string());
                "missing; it has to stand in this section".to_owned()
            }
            kind => words::told(kind, &path),
        };
        ConfigError::Value { place: self.place(Some(&path.join("."))), message }
    }

    /// The strongest source that holds the key, as they override each other.
    fn place(&self, key: Option<&str>) -> Place {
        let Some(key) = key else { return Place::Nowhere(None) };
        if self.flags.iter().any(|(flag, _)| flag == key) {
            return Place::Flag(key.to_owned());
        }
        if let Some((_, name, _)) = self.variables.iter().find(|(variable, ..)| variable == key) {
            return Place::Variable(name.clone());
        }
        match (self.file, line_of(self.text, key)) {
            (Some(file), line) => Place::File { file: file.to_owned(), line, key: Some(key.to_owned()) },
            _ => Place::Nowhere(Some(key.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(text: &str, set: &[(&str, &str)]) -> Result<Plan, String> {
        loaded_with(text, set, &[])
    }

    fn owned<'a>(pairs: &'a [(&str, &str)]) -> impl Iterator<Item = (String, String)> + 'a {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
    }

    fn loaded_with(text: &str, set: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<Plan, String> {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("aqueduct-config-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("aqueduct.toml");
        std::fs::write(&file, text).unwrap();
        let settings = Settings { config: Some(file), set: owned(set).collect(), ..Settings::default() };
        let plan = load_with(&settings, owned(variables))
            .map_err(|error| error.to_string().replace(&format!("{}/", dir.display()), ""));
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
    fn the_printed_default_file_has_every_key_of_the_transcode_stage_with_its_default() {
        use aqueduct_transcode::config::Config as Transcode;
        let uncommented = super::super::DEFAULT_FILE.replace("\n#: ", "\n");
        let printed = Figment::new().merge(Toml::string(&uncommented));
        assert_eq!(printed.extract_inner::<Transcode>("transcode").unwrap(), Transcode::default());
        let defaults = figment::value::Value::serialize(Transcode::default()).unwrap();
        let mut keys = vec![(String::from("transcode"), defaults)];
        while let Some((key, value)) = keys.pop() {
            match value.into_dict() {
                Some(dict) => {
                    keys.extend(dict.into_iter().map(|(name, value)| (format!("{key}.{name}"), value)))
                }
                // Its section holds an example instead: a list that is empty cannot be shown as one.
                None if key == "transcode.ladder" => {}
                None => assert!(printed.find_value(&key).is_ok(), "{key} is not in the printed default file"),
            }
        }
    }

    #[test]
    fn streams_with_sources_and_targets_are_read_and_errors_name_the_line() {
        let text = "[[stream]]\nname = 'live/show'\nsources = ['push:main', 'push:backup', 'rtsp:cam1']\n\
                    failover_after = '2s'\n[[stream.push]]\nurl = 'rtmp://h/live/hush'\n\
                    [[stream]]\nname = 'live/b'\n[[stream.push]]\nurl = 'srt://h:9'\nname = 'one'\n";
        let plans = loaded(text, &[]).unwrap().streams;
        assert_eq!((plans.sources.len(), plans.targets.len()), (1, 2));
        assert!(!format!("{plans:?}").contains("hush"));
        for (from, to, part) in [
            ("live/show", "show", "aqueduct.toml:2: stream.0.name: a stream is named"),
            ("live/b", "live/show", "aqueduct.toml:8: stream.1.name: live/show has a section already"),
            ("'rtsp:cam1'", "'a b'", "aqueduct.toml:3: stream.0.sources: \"a b\""),
            ("'2s'", "'1h'", "aqueduct.toml:4: stream.0.failover_after: set it"),
            ("rtmp://h/live/hush", "http://h/live/hush", "aqueduct.toml:6: stream.0.push.0.url: write rtmp"),
            ("failover_after", "failover", "stream.0.failover"),
            (
                "name = 'one'",
                "name = 'one'\n[[stream.push]]\nurl = 'srt://h:8'\nname = 'one'",
                "give each a name",
            ),
        ] {
            let error = loaded(&text.replace(from, to), &[]).unwrap_err();
            assert!(error.contains(part) && !error.contains("hush"), "{to}: {error}");
        }
        let set = loaded("", &[("stream", "[{name=\"live/a\", sources=[\"push\"]}]")]).unwrap();
        assert_eq!(set.streams.sources.len(), 1);
        // The example of the printed file.
        let example: String = super::super::DEFAULT_FILE
            .lines()
            .skip_while(|line| *line != "# [[stream]]")
            .take_while(|line| !line.is_empty())
            .map(|line| format!("{}\n", line.trim_start_matches("# ")))
            .collect();
        let plans = loaded(&example, &[]).unwrap().streams;
        assert_eq!((plans.sources.len(), plans.targets.values().map(Vec::len).sum::<usize>()), (1, 2));
    }

    #[test]
    fn the_printed_default_file_has_every_key_of_the_directory_and_the_steering_with_its_default() {
        use aqueduct_edge::{cluster, steering};
        let uncommented = super::super::DEFAULT_FILE.replace("\n#: ", "\n");
        let printed = Figment::new().merge(Toml::string(&uncommented));
        assert_eq!(printed.extract_inner::<cluster::Config>("cluster").unwrap(), cluster::Config::default());
        assert_eq!(
            printed.extract_inner::<steering::Config>("steering").unwrap(),
            steering::Config::default()
        );
        let cluster = figment::value::Value::serialize(cluster::Config::default()).unwrap();
        let steering = figment::value::Value::serialize(steering::Config::default()).unwrap();
        for (section, defaults) in [("cluster", cluster), ("steering", steering)] {
            // Of the groups there is an example instead.
            for key in defaults.into_dict().unwrap().into_keys().filter(|key| key != "pathways") {
                assert!(
                    printed.find_value(&format!("{section}.{key}")).is_ok(),
                    "{section}.{key} is not printed"
                );
            }
        }
    }

    #[test]
    fn a_stop_leaves_players_the_time_to_go_elsewhere() {
        let steering = "[steering]\nenabled = true\npathway = \"a\"\nhost = \"a.example\"\n";
        let error = loaded(steering, &[]).unwrap_err();
        assert!(error.contains("stop.deadline is 10s") && error.contains("16s or more"), "{error}");
        assert!(loaded(steering, &[("stop.deadline", "16s")]).is_ok());
        assert!(loaded("[steering]\nenabled = true\n", &[]).is_ok(), "an origin has no players");
    }

    #[test]
    fn the_printed_default_file_has_every_key_of_viewers_access_with_its_default() {
        use aqueduct_edge::token::Config as Access;
        let uncommented = super::super::DEFAULT_FILE.replace("\n#: ", "\n");
        let printed = Figment::new().merge(Toml::string(&uncommented));
        assert_eq!(printed.extract_inner::<Access>("edge.access").unwrap(), Access::default());
        let defaults = figment::value::Value::serialize(Access::default()).unwrap();
        // Of the keys there is an example instead: a list that is empty cannot be shown as one.
        for key in defaults.into_dict().unwrap().into_keys().filter(|key| key != "keys") {
            assert!(
                printed.find_value(&format!("edge.access.{key}")).is_ok(),
                "edge.access.{key} is not printed"
            );
        }
        let example: String = super::super::DEFAULT_FILE
            .lines()
            .skip_while(|line| *line != "# [[edge.access.keys]]")
            .take_while(|line| !line.is_empty())
            .map(|line| format!("{}\n", line.trim_start_matches("# ")))
            .collect();
        assert_eq!(loaded(&example, &[]).unwrap().edge.access().keys().len(), 1);
        let error = loaded(&example.replace("at-least-32-characters-of-randomness", "x"), &[]).unwrap_err();
        assert!(error.starts_with("aqueduct.toml:1: edge.access.keys: "), "{error}");
        let flag = loaded("", &[("edge.access.protected", "live/*,shop/vip")]).unwrap();
        assert!(flag.edge.access().protects("live/any") && flag.edge.access().protects("shop/vip"));
    }

    #[test]
    fn the_example_source_of_the_default_file_is_one() {
        let text: String = super::super::DEFAULT_FILE
            .lines()
            .skip_while(|line| *line != "# [[ingest.rtsp]]")
            .take_while(|line| !line.is_empty())
            .map(|line| format!("{}\n", line.trim_start_matches("# ")))
            .collect();
        loaded(&text, &[]).unwrap();
        let error = loaded(&text.replace("rtsp://10.0.0.5", "http://10.0.0.5"), &[]).unwrap_err();
        assert!(error.starts_with("aqueduct.toml:") && error.contains("ingest.rtsp"), "{error}");
        assert!(!error.contains("Streaming"), "{error}");
    }

    #[test]
    fn the_example_ladder_of_the_default_file_is_one() {
        let text: String = super::super::DEFAULT_FILE
            .lines()
            .skip_while(|line| *line != "# [[transcode.ladder]]")
            .take_while(|line| !line.is_empty())
            .map(|line| format!("{}\n", line.trim_start_matches("# ")))
            .collect();
        let plan = loaded(&text, &[]).unwrap();
        assert_eq!(plan.transcode.ladder.len(), 1);
        let error = loaded(&text.replace("720", "9000"), &[]).unwrap_err();
        assert_eq!(error, "aqueduct.toml:2: transcode.ladder.0.height is 9000: set it to 32 up to 4320");
    }

    #[test]
    fn transcoding_is_set_by_flags_as_by_the_file() {
        assert!(loaded("", &[]).unwrap().transcode.enabled);
        assert!(!loaded("", &[("transcode.mode", "off")]).unwrap().transcode.enabled);
        let flags = [
            ("transcode.audio.loudness", "-16"),
            ("transcode.audio.bitrate", "96k"),
            ("transcode.hardware.encode", "vaapi,software"),
            ("transcode.preset", "fast"),
        ];
        let plan = loaded("", &flags).unwrap().transcode;
        assert_eq!(plan.loudness.map(|loudness| loudness.target), Some(-16.0));
        assert_eq!(plan.audio_bitrate, 96_000);
        assert!(plan.preset.is_some() && plan.hardware.encode.0.is_some());
        let error = loaded("", &[("transcode.mode", "maybe")]).unwrap_err();
        assert!(error.starts_with("--set transcode.mode: "), "{error}");
    }

    #[test]
    fn flags_stand_over_the_file() {
        let plan = loaded("[admin]\nlisten = \"127.0.0.1:1\"\n", &[("admin.listen", "127.0.0.1:2")]).unwrap();
        assert_eq!(plan.admin.listen.port(), 2);
    }

    #[test]
    fn an_error_names_file_line_and_key() {
        for (text, expected) in [
            ("[admin]\n\nlisten = 7\n", "aqueduct.toml:3: admin.listen: "),
            ("[packager]\nparts = \"1s\"\n", "aqueduct.toml:2: packager.parts: unknown key; known here: "),
            ("a = [\n", "aqueduct.toml:1: not TOML: "),
            ("[tls]\ncert = \"x\"\n", "aqueduct.toml:1: tls.key is missing: "),
            ("[packager]\n# parts\npart = \"5s\"\n", "aqueduct.toml:3: packager.part is 5000 ms: "),
        ] {
            let error = loaded(text, &[]).unwrap_err();
            assert!(error.starts_with(expected), "{error:?} should start with {expected:?}");
        }
    }

    #[test]
    fn an_error_names_the_flag_or_variable_that_stands_over_the_file() {
        let file = "[packager]\npart = \"200ms\"\n";
        let flag = loaded(file, &[("packager.part", "never")]).unwrap_err();
        assert!(flag.starts_with("--set packager.part: "), "{flag}");
        for value in ["never", "7s"] {
            let variable = loaded_with(file, &[], &[("AQUEDUCT_PACKAGER__PART", value)]).unwrap_err();
            assert!(variable.starts_with("AQUEDUCT_PACKAGER__PART: "), "{variable}");
        }
    }

    #[test]
    fn variables_set_keys_below_flags_and_strange_ones_are_left_alone() {
        let variables = [("AQUEDUCT_ADMIN__LISTEN", "127.0.0.1:3"), ("AQUEDUCT_PORT", "tcp://10.0.0.1:80")];
        assert_eq!(loaded_with("", &[], &variables).unwrap().admin.listen.port(), 3);
        let flags = [("admin.listen", "127.0.0.1:4")];
        assert_eq!(loaded_with("", &flags, &variables).unwrap().admin.listen.port(), 4);
    }
}
