//! Where a setting's value comes from: flags over environment over the configuration file over the defaults.

use std::path::PathBuf;
use std::sync::LazyLock;

use clap::{Arg, ArgAction, ArgMatches, Command};
use toml::{Table, Value};

use super::ConfigError;

/// Every setting, with its default and its reason. What is not in this file is no setting.
pub(crate) const DEFAULTS: &str = include_str!("../../../../config.default.toml");

/// What a setting's variable starts with.
pub(super) const PREFIX: &str = "AUDIO_EXTRACT_";

/// The section whose settings `-h` shows; `--help` shows all.
const EVERYDAY: &str = "Everyday";

/// A setting, as the file of defaults describes it.
struct Knob {
    name: String,
    flag: String,
    section: String,
    help: String,
    default: Value,
}

static KNOBS: LazyLock<Vec<Knob>> = LazyLock::new(read_knobs);

/// Reads names, defaults and explanations: `## Section`, then comment lines directly above each key.
fn read_knobs() -> Vec<Knob> {
    let defaults = default_table();
    let (mut knobs, mut section, mut help) = (Vec::new(), String::new(), Vec::new());
    for line in DEFAULTS.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title.to_owned();
        } else if let Some(comment) = line.strip_prefix('#') {
            help.push(comment.trim());
        } else if let Some((name, _)) = line.split_once(" = ")
            && let Some(default) = defaults.get(name)
        {
            knobs.push(Knob {
                name: name.to_owned(),
                flag: name.replace('_', "-"),
                section: section.clone(),
                help: help.join(" "),
                default: default.clone(),
            });
            help.clear();
        } else {
            help.clear();
        }
    }
    knobs
}

/// The embedded defaults. A test reads them, so that a release cannot have broken ones.
fn default_table() -> Table {
    DEFAULTS.parse().unwrap_or_default()
}

/// The settings that were given as flags, and the file that `--config` names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags {
    file: Option<PathBuf>,
    given: Vec<(&'static str, String)>,
}

impl clap::FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = KNOBS
            .iter()
            .filter_map(|knob| Some((knob.name.as_str(), matches.get_one::<String>(&knob.name)?.clone())));
        Ok(Self { file: matches.get_one::<PathBuf>("config").cloned(), given: given.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for Flags {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("Reads settings from this TOML file");
        KNOBS.iter().fold(command.arg(file), |command, knob| {
            command.arg(
                Arg::new(knob.name.as_str())
                    .long(knob.flag.as_str())
                    .value_name("VALUE")
                    .action(ArgAction::Set)
                    .help(knob.help.as_str())
                    .help_heading(knob.section.as_str())
                    .hide_short_help(knob.section != EVERYDAY),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The layers, flattened into one table, and the variables that look like ours but are none.
pub(super) struct Layered {
    pub(super) table: Table,
    pub(super) unknown_variables: Vec<String>,
}

/// Puts flags over environment over file over defaults.
pub(super) fn layered(
    flags: &Flags,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Layered, ConfigError> {
    let mut table = default_table();
    if let Some(path) = &flags.file {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|cause| ConfigError(format!("{shown}: {cause}")))?;
        let file: Table = text.parse().map_err(|cause: toml::de::Error| {
            // Not the whole error: it shows the line that it means, which may hold a secret.
            let before = cause.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            ConfigError(format!("{shown}: line {line}: {}", one_line(cause.message())))
        })?;
        for (name, value) in file {
            if !table.contains_key(&name) {
                return Err(ConfigError(format!("{shown}: `{name}` is no setting")));
            }
            table.insert(name, value);
        }
    }
    let mut unknown_variables = Vec::new();
    for (variable, text) in environment {
        let Some(name) = variable.strip_prefix(PREFIX) else { continue };
        match KNOBS.iter().find(|knob| knob.name == name.to_ascii_lowercase()) {
            Some(knob) => set(&mut table, knob, &text, &variable)?,
            None => unknown_variables.push(variable),
        }
    }
    for (name, text) in &flags.given {
        if let Some(knob) = KNOBS.iter().find(|knob| knob.name == *name) {
            set(&mut table, knob, text, &format!("--{}", knob.flag))?;
        }
    }
    Ok(Layered { table, unknown_variables })
}

/// Reads a text as the kind of value that the setting's default is. Lists are written with commas.
fn set(table: &mut Table, knob: &Knob, text: &str, origin: &str) -> Result<(), ConfigError> {
    let text = text.trim();
    let refuse = |kind: &str| ConfigError(format!("{origin}: not {kind}"));
    let value = match &knob.default {
        Value::Integer(_) => Value::Integer(text.parse().map_err(|_| refuse("a whole number"))?),
        Value::Float(_) => Value::Float(text.parse().map_err(|_| refuse("a number"))?),
        Value::Boolean(_) => Value::Boolean(text.parse().map_err(|_| refuse("true or false"))?),
        Value::Array(_) => Value::Array(
            text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Value::from).collect(),
        ),
        _ => Value::from(text),
    };
    table.insert(knob.name.clone(), value);
    Ok(())
}

/// An error that its library spreads over several lines, as one.
pub(super) fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_knob_with_a_reason() {
        let table: Table = DEFAULTS.parse().expect("config.default.toml");
        assert_eq!(table.len(), KNOBS.len(), "a key is not written as `name = value` at the start of a line");
        for knob in KNOBS.iter() {
            assert!(!knob.help.is_empty(), "{} has no reason", knob.name);
            assert!(!knob.section.is_empty(), "{} has no section", knob.name);
            assert!(!matches!(knob.default, Value::Table(_)), "{} is a table; settings are flat", knob.name);
        }
    }
}
