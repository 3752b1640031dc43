//! IAM policies, as far as an S3 server with one account meets them: Effect, Action and Resource with wildcards.
//!
//! Amazon's "Policy evaluation logic": what nothing allows is denied, and an explicit Deny wins. What this does not
//! know (conditions, principals, `NotAction`) is refused, so that no test rests on a policy that is only half read.

use serde::Deserialize;

/// A policy document.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Policy {
    version: Version,
    statement: Vec<Statement>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Version {
    #[serde(rename = "2012-10-17")]
    Current,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Statement {
    #[serde(default, rename = "Sid")]
    _sid: String,
    effect: Effect,
    action: OneOrMore,
    resource: OneOrMore,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn any(&self, matches: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::One(one) => matches(one),
            Self::More(more) => more.iter().any(|one| matches(one)),
        }
    }
}

impl Policy {
    /// Reads a policy document.
    pub fn parse(document: &str) -> Result<Self, String> {
        serde_json::from_str(document).map_err(|error| error.to_string())
    }

    /// Does it allow this action on this resource, given by its ARN?
    pub fn allows(&self, action: &str, resource: &str) -> bool {
        let concerns = |statement: &&Statement| {
            // Actions are compared without regard to case, resources are not.
            let action = action.to_ascii_lowercase();
            statement.action.any(|pattern| fits(&pattern.to_ascii_lowercase(), &action))
                && statement.resource.any(|pattern| fits(pattern, resource))
        };
        let mut effects = self.statement.iter().filter(concerns).map(|statement| statement.effect).peekable();
        effects.peek().is_some() && effects.all(|effect| effect == Effect::Allow)
    }
}

/// `*` stands for any characters, `?` for one.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(c) if *c == b'?' || *c == text[read] => {
                at += 1;
                read += 1;
            }
            _ => match star {
                Some((star_at, from)) => {
                    star = Some((star_at, from + 1));
                    at = star_at + 1;
                    read = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_amazons_do() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("arn:aws:s3:::b/*", "arn:aws:s3:::b/.own/x", true),
            ("arn:aws:s3:::b/*", "arn:aws:s3:::b", false),
            ("arn:aws:s3:::b/.own/*", "arn:aws:s3:::b/x/.own/y", false),
            ("*a*b", "xxaxxbxxb", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_nothing_allows_is_denied_and_a_deny_wins() {
        let policy = Policy::parse(
            r#"{"Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Action": ["s3:GetObject", "s3:List*"], "Resource": "arn:aws:s3:::b*"},
                {"Effect": "Deny", "Action": "s3:getobject", "Resource": "arn:aws:s3:::b/secret/*"}]}"#,
        )
        .unwrap();
        for (action, resource, allowed) in [
            ("s3:GetObject", "arn:aws:s3:::b/x", true),
            ("s3:GetObject", "arn:aws:s3:::b/secret/x", false),
            ("s3:GetObject", "arn:aws:s3:::c/x", false),
            ("s3:ListBucket", "arn:aws:s3:::b", true),
            ("s3:PutObject", "arn:aws:s3:::b/x", false),
        ] {
            assert_eq!(policy.allows(action, resource), allowed, "{action} {resource}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for unknown in [
            r#"{"Version": "2008-10-17", "Statement": []}"#,
            r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}]}"#,
            r#"{"Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": {}}]}"#,
        ] {
            assert!(Policy::parse(unknown).is_err(), "{unknown}");
        }
    }
}
