//! API keys and what they may do.

use crate::ids::KeyId;
use crate::time::Timestamp;

/// A permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Look at jobs and fetch their results.
    JobsRead,
    /// Create and cancel jobs.
    JobsWrite,
    /// Look at webhook deliveries and send them again.
    Webhooks,
}

impl Scope {
    /// Every permission.
    pub const ALL: [Self; 3] = [Self::JobsRead, Self::JobsWrite, Self::Webhooks];

    /// As written on the command line and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JobsRead => "jobs:read",
            Self::JobsWrite => "jobs:write",
            Self::Webhooks => "webhooks",
        }
    }
}

/// A set of permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// All that there are: the default of a new key.
    pub fn all() -> Self {
        Self(Scope::ALL.to_vec())
    }

    /// Reads a comma-separated list; the error names the word that is no scope.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut scopes = Vec::new();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let scope = Scope::ALL.into_iter().find(|scope| scope.as_str() == word);
            let scope = scope.ok_or_else(|| {
                format!("`{word}` is no scope; there are jobs:read, jobs:write and webhooks")
            })?;
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        if scopes.is_empty() { Err("no scope is named".to_owned()) } else { Ok(Self(scopes)) }
    }

    /// Whether the set has this permission.
    pub fn has(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// What [`Self::parse`] reads.
    pub fn to_text(&self) -> String {
        self.0.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(",")
    }
}

/// An API key as its owner and operator see it: everything but the secret.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiKey {
    /// Its public name.
    pub id: KeyId,
    /// What the operator called it.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_read_back_and_name_the_word_that_is_none() {
        let scopes = Scopes::parse("jobs:read, webhooks,jobs:read").expect("scopes");
        assert_eq!(scopes.to_text(), "jobs:read,webhooks");
        assert!(!scopes.has(Scope::JobsWrite));
        assert!(Scopes::parse("jobs:reed").expect_err("no scope").contains("jobs:reed"));
        assert!(Scopes::parse(" , ").is_err());
    }
}
