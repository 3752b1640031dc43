//! The marker in the object bucket: whose buckets these are, and which nonce was the last.

use serde_json::Value;
use uuid::Uuid;

/// What a marker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marked {
    /// The environment that it names.
    pub environment: Uuid,
    /// The rolling nonce; none in a marker that was written before there was one.
    pub nonce: Option<Uuid>,
    /// How often the nonce had been advanced.
    pub advances: i64,
}

impl Marked {
    /// Reads a marker; nothing where it cannot be read as one, which refuses everything.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let document: Value = serde_json::from_slice(bytes).ok()?;
        let id = |name: &str| Uuid::try_parse(document.get(name)?.as_str()?).ok();
        let nonce = match document.get("nonce") {
            None | Some(Value::Null) => None,
            Some(_) => Some(id("nonce")?),
        };
        let advances = document.get("advances").and_then(Value::as_i64).unwrap_or(0);
        Some(Self { environment: id("environment")?, nonce, advances })
    }

    /// Its content; `database` is for people.
    pub fn bytes(&self, database: &str) -> Vec<u8> {
        let Self { environment, nonce, advances } = self;
        let document = serde_json::json!({
            "environment": environment, "database": database, "nonce": nonce, "advances": advances
        });
        document.to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_as_it_was_written() {
        for nonce in [None, Some(Uuid::from_u128(2))] {
            let marked = Marked { environment: Uuid::from_u128(1), nonce, advances: 7 };
            assert_eq!(Marked::read(&marked.bytes("crm")), Some(marked));
        }
    }

    #[test]
    fn one_of_before_there_were_nonces_has_none_and_a_broken_one_is_none_at_all() {
        let id = Uuid::from_u128(1);
        let old = Marked { environment: id, nonce: None, advances: 0 };
        assert_eq!(
            Marked::read(format!(r#"{{"environment":"{id}","database":"crm"}}"#).as_bytes()),
            Some(old)
        );
        for broken in
            ["", "{}", "[]", r#"{"environment":"x"}"#, &format!(r#"{{"environment":"{id}","nonce":"x"}}"#)]
        {
            assert_eq!(Marked::read(broken.as_bytes()), None, "{broken}");
        }
    }
}
