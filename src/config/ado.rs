//! Connection strings in the form of ADO.NET: `Key=Value;Key="a value; quoted"`.
//!
//! Not the `connection-string` crate: its 0.2 refuses `=` in a plain value and every character that is
//! not ASCII, takes braces for quotation marks, and keeps the spaces in keys. The rules here are those of
//! .NET's `DbConnectionStringBuilder`.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// The pairs of a string, by keys in lower case without spaces. Of a repeated key the last one holds; an
/// empty value takes the key away. The error never quotes the string, which holds passwords.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut pairs = BTreeMap::new();
    let mut rest = text.chars().peekable();
    let mut count = 0;
    while skip(&mut rest, |c| c.is_whitespace() || c == ';') {
        count += 1;
        let key = key(&mut rest).ok_or_else(|| wrong(count, "has no '='"))?;
        if key.is_empty() {
            return Err(wrong(count, "has no key before its '='"));
        }
        skip(&mut rest, char::is_whitespace);
        let value = match rest.peek().copied() {
            Some(quote @ ('"' | '\'')) => {
                rest.next();
                quoted(&mut rest, quote).map_err(|problem| wrong(count, problem))?
            }
            _ => plain(&mut rest),
        };
        if value.is_empty() {
            pairs.remove(&key);
        } else {
            pairs.insert(key, value);
        }
    }
    Ok(pairs)
}

/// Skips such characters; is there anything after them?
fn skip(rest: &mut Peekable<Chars<'_>>, such: impl Fn(char) -> bool) -> bool {
    while rest.next_if(|c| such(*c)).is_some() {}
    rest.peek().is_some()
}

/// The key up to its `=`; a doubled `==` stands for one in the key itself.
fn key(rest: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut key = String::new();
    loop {
        match rest.next()? {
            '=' if rest.next_if_eq(&'=').is_some() => key.push('='),
            '=' => return Some(key),
            ';' => return None,
            c if c.is_whitespace() => {}
            c => key.extend(c.to_lowercase()),
        }
    }
}

/// A value in quotation marks, whose first is read already; a doubled one stands for itself.
fn quoted(rest: &mut Peekable<Chars<'_>>, quote: char) -> Result<String, &'static str> {
    let mut value = String::new();
    loop {
        match rest.next() {
            None => return Err("has a quotation mark that is not closed"),
            Some(c) if c == quote && rest.next_if_eq(&quote).is_none() => break,
            Some(c) => value.push(c),
        }
    }
    skip(rest, char::is_whitespace);
    match rest.peek() {
        None | Some(';') => Ok(value),
        Some(_) => Err("goes on after its closing quotation mark"),
    }
}

/// A value without quotation marks: up to the next `;`, without the spaces around it.
fn plain(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut value = String::new();
    while let Some(c) = rest.next_if(|c| *c != ';') {
        value.push(c);
    }
    value.trim_end().to_owned()
}

fn wrong(count: usize, problem: &str) -> String {
    format!("is not a connection string: its pair number {count} {problem}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap().into_iter().collect()
    }

    fn is(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn pairs_are_read_as_dotnet_reads_them() {
        for (text, expected) in [
            ("", &[] as &[(&str, &str)]),
            (" ; ;;", &[]),
            ("Server=a", &[("server", "a")]),
            ("User ID = crm ; ", &[("userid", "crm")]),
            ("\n  Port=1;\n\tPort=2\n", &[("port", "2")]),
            ("PASSWORD=a;pass word=b", &[("password", "b")]),
            ("Password=a=b==", &[("password", "a=b==")]),
            ("Password=a\"b'c", &[("password", "a\"b'c")]),
            ("Password=\"a;b\"\"c'\" ;Port=1", &[("password", "a;b\"c'"), ("port", "1")]),
            ("Password=' a;''b\" '", &[("password", " a;'b\" ")]),
            ("Password={a};", &[("password", "{a}")]),
            ("Password=пароль é", &[("password", "пароль é")]),
            ("Password=a;Password=", &[]),
            ("a==b=c", &[("a=b", "c")]),
            ("Password=\"\"", &[]),
        ] {
            assert_eq!(pairs(text), is(expected), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_such_string_is_refused_without_quoting_it() {
        for (text, problem) in [
            ("secret", "is not a connection string: its pair number 1 has no '='"),
            ("a=b;secret;", "is not a connection string: its pair number 2 has no '='"),
            ("=secret", "is not a connection string: its pair number 1 has no key before its '='"),
            (
                "a=\"secret",
                "is not a connection string: its pair number 1 has a quotation mark that is not closed",
            ),
            (
                "a='secret'x",
                "is not a connection string: its pair number 1 goes on after its closing quotation mark",
            ),
        ] {
            assert_eq!(parse(text), Err(problem.to_owned()));
        }
    }
}
