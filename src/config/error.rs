//! What is wrong with a configuration, and where it was set.

use std::fmt;
use std::path::PathBuf;

/// Where a setting was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `--set KEY=VALUE`
    Flag,
    /// An environment variable, by its name.
    Environment(String),
    /// A file that an environment variable (`…_FILE`) names.
    SecretFile {
        /// The variable's name.
        variable: String,
        /// The file.
        path: PathBuf,
    },
    /// The configuration file.
    File {
        /// Its path.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// A connection string of the CRM.
    ConnectionString {
        /// Its name: `s3Connection`, `db` or `messageBroker`.
        name: &'static str,
        /// The path of `ConnectionStrings.config`.
        path: PathBuf,
    },
    /// Nowhere: the default holds.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("--set"),
            Self::Environment(variable) => write!(f, "environment {variable}"),
            Self::SecretFile { variable, path } => {
                write!(f, "environment {variable}, file {}", path.display())
            }
            Self::File { path, line } => write!(f, "{} line {line}", path.display()),
            Self::ConnectionString { name, path } => write!(f, "{name} in {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong. It never holds a secret's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, or what else is wrong: a variable, a file.
    pub subject: String,
    /// Where it was set; nothing where it is missing, or the subject says it.
    pub source: Option<Source>,
    /// What is wrong with it: the rest of a sentence that begins with the subject.
    pub problem: String,
}

impl Problem {
    /// A problem with something that was set at `source`.
    pub(super) fn at(subject: &str, source: &Source, problem: impl Into<String>) -> Self {
        Self { subject: subject.to_owned(), source: Some(source.clone()), problem: problem.into() }
    }

    /// A problem whose subject says where it is, or that is nowhere.
    pub(super) fn of(subject: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { subject: subject.into(), source: None, problem: problem.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{} ({source}) {}", self.subject, self.problem),
            None => write!(f, "{} {}", self.subject, self.problem),
        }
    }
}

/// Everything that is wrong with a configuration, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Problem>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
