//! Secrets, pairs and tables that are refused, in the exact words that an operator reads.

use super::*;

#[test]
fn a_wrong_address_is_named_without_any_part_of_it() {
    for (url, error) in [
        (
            "hunter2",
            "is not a URL (relative URL without a base); in a user name or password write / ? # @ % as %2F %3F %23 %40 %25",
        ),
        (
            "postgres://u:hunter2/@h/d",
            "is not a URL (invalid port number); in a user name or password write / ? # @ % as %2F %3F %23 %40 %25",
        ),
        ("hunter2://u@h/d", "does not begin with postgres:// or postgresql://"),
        ("postgres:///d", "names no server"),
        (
            "postgres://u:hunter2%@h/d",
            "has a '%' that is not followed by the two digits of a character; in a user name or password write it as %25",
        ),
        (
            "postgres://u:hunter2%ff@h/d",
            "has a '%' that is not followed by the two digits of a character; in a user name or password write it as %25",
        ),
        ("postgres://u:p@h/d#hunter2", "has a '#' in it; in a user name or password write it as %23"),
        (
            "postgres://h/d?sslmode=hunter2",
            "has an sslmode that is not one of: disable, allow, prefer, require, verify-ca, verify-full",
        ),
        (
            "postgres://h/d?sslrootcert=/none",
            "has an sslrootcert that names /none, which cannot be read: No such file or directory (os error 2)",
        ),
    ] {
        let place = Place::new().env("FILE_RECYCLER_DATABASE__URL", url);
        assert_eq!(place.errors(), format!("database.url (environment FILE_RECYCLER_DATABASE__URL) {error}"));
    }
    let place = Place::new().connection_strings(&[("messageBroker", "http://u:hunter2@h")]);
    assert_eq!(
        place.errors(),
        "broker.url (messageBroker in DIR/cs.config) does not begin with amqp:// or amqps://"
    );
    let place = Place::new().env("FILE_RECYCLER_HTTP__TOKEN", "hunter 2");
    assert_eq!(
        place.errors(),
        "http.token (environment FILE_RECYCLER_HTTP__TOKEN) holds a space or a character that is not ASCII"
    );
    let place = Place::new().env("FILE_RECYCLER_HTTP__TOKEN_FILE", "token");
    place.write("token", "\n");
    let error = place.errors();
    assert!(error.starts_with("http.token (") && error.contains("is empty"), "{error}");
}

#[test]
fn what_only_makes_sense_together_is_refused_alone() {
    let alone = Place::new().env("FILE_RECYCLER_STORAGE__ACCESS_KEY", "hunter2");
    assert_eq!(
        alone.errors(),
        "storage.access_key (environment FILE_RECYCLER_STORAGE__ACCESS_KEY) is set, and storage.secret_key is not: set both or neither"
    );
    let alone = Place::new().set("broker.client_key_file=pem");
    alone.write("pem", "x");
    assert_eq!(
        alone.errors(),
        "broker.client_key_file (--set) is set, and broker.client_certificate_file is not: set both or neither"
    );
    let twice = Place::new()
        .env("FILE_RECYCLER_DATABASE__URL", "postgres://h/hunter2")
        .env("FILE_RECYCLER_DATABASE__URL_FILE", "url");
    twice.write("url", "postgres://h/hunter2");
    assert_eq!(
        twice.errors(),
        "database.url (environment FILE_RECYCLER_DATABASE__URL_FILE, file DIR/url) is set twice, by FILE_RECYCLER_DATABASE__URL and by FILE_RECYCLER_DATABASE__URL_FILE: keep one"
    );
}

#[test]
fn buckets_that_are_the_same_or_no_names_are_refused() {
    for (object, recycle, error) in [
        (
            "files",
            "files",
            "storage.recycle_bucket_name (--set) is 'files', the same bucket as storage.object_bucket_name (--set)",
        ),
        (
            "Files",
            " files ",
            "storage.recycle_bucket_name (--set) is 'files', the same bucket as storage.object_bucket_name (--set)",
        ),
        (
            "files",
            "a/b",
            "storage.recycle_bucket_name (--set) is 'a/b', not the name of a bucket: 3 to 255 letters, digits, '.', '-' or '_'",
        ),
        (
            "..",
            "gone",
            "storage.object_bucket_name (--set) is '..', not the name of a bucket: 3 to 255 letters, digits, '.', '-' or '_'",
        ),
    ] {
        let place = Place::new()
            .set(&format!("storage.object_bucket_name={object}"))
            .set(&format!("storage.recycle_bucket_name={recycle}"));
        assert_eq!(place.errors(), error);
    }
}

#[test]
fn a_wrong_connection_string_is_named_without_any_part_of_it() {
    for (name, string, error) in [
        (
            "s3Connection",
            "hunter2",
            "s3Connection in DIR/cs.config is not a connection string: its pair number 1 has no '='",
        ),
        (
            "db",
            "Server=a;hunter2",
            "db in DIR/cs.config is not a connection string: its pair number 2 has no '='",
        ),
        (
            "db",
            "Data Source=hunter2",
            "db in DIR/cs.config names no Server; is it a PostgreSQL connection string?",
        ),
        (
            "s3Connection",
            "AccessKey=hunter2",
            "storage.access_key (s3Connection in DIR/cs.config) is set, and storage.secret_key is not: set both or neither",
        ),
    ] {
        assert_eq!(Place::new().connection_strings(&[(name, string)]).errors(), error);
    }
    let place = Place::new().connection_strings(&[]);
    place.write("cs.config", "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><connectionStrings/>");
    assert_eq!(
        place.errors(),
        "crm.connection_strings (--set) names DIR/cs.config, which has a document type, which may name other files (line 1)"
    );
    place.write("cs.config", " ".repeat(1024 * 1024 + 1));
    assert_eq!(
        place.errors(),
        "crm.connection_strings (--set) names DIR/cs.config, which is larger than 1024 KiB"
    );
}

#[test]
fn a_wrong_file_table_is_named_with_its_line() {
    let table =
        |rest: &str| format!("crm.profile = 'mapping'\n[[crm.file_table]]\ntable = 'a'\nid = 'b'\n{rest}");
    for (rest, error) in [
        (
            "recrod = 'x'",
            "recrod (DIR/file-recycler.toml line 5) is not known; a table has table, id, record, key, storage, size, models",
        ),
        (
            "record = 'a'",
            "record (DIR/file-recycler.toml line 5) is 'a', neither \"column -> table\" nor \"model column, id column\"",
        ),
        (
            "record = '-> a'",
            "record (DIR/file-recycler.toml line 5) is '-> a', neither \"column -> table\" nor \"model column, id column\"",
        ),
        (
            "storage = \"kind = 'binary'\"",
            "storage (DIR/file-recycler.toml line 5) is 'kind = 'binary'', and the value stands without quotes: \"kind = binary\"",
        ),
        ("storage = 'type'", "storage (DIR/file-recycler.toml line 5) is 'type', not \"column = value\""),
        (
            "key = 'all'",
            "key (DIR/file-recycler.toml line 5) is 'all', without a {column}: all files would share one key",
        ),
        ("key = '{a'", "key (DIR/file-recycler.toml line 5) is '{a', with a brace without its partner"),
        ("size = 5", "size (DIR/file-recycler.toml line 5) is a number, not a text"),
        (
            "[crm.file_table.models]\nx = 'y'",
            "models (DIR/file-recycler.toml line 5) goes with a record of the form \"model, res_id\" only",
        ),
    ] {
        assert_eq!(Place::new().file(&table(rest)).errors(), format!("crm.file_table[0].{error}"));
    }
    assert_eq!(
        Place::new().file(&table("[[crm.file_table]]\nid = 'b'")).errors(),
        "crm.file_table[1].table (DIR/file-recycler.toml line 6) is missing"
    );
    assert_eq!(
        Place::new().file(&table("[[crm.file_table]]\ntable = 'a'\nid = 'b'")).errors(),
        "crm.file_table[1].table (DIR/file-recycler.toml line 6) is 'a', which is listed twice"
    );
}

#[test]
fn everything_that_is_wrong_is_said_at_once_and_no_secret_with_it() {
    let place = Place::new()
        .file("storage.regio = 'x'\nhttp.token = 'hunter 2'")
        .env("FILE_RECYCLER_WORKER__PREFETCH", "0")
        .env("FILE_RECYCLER_DATABASE__URL", "postgres://u:hunter2%@h/d")
        .set("listener.poll=1");
    let errors = place.errors();
    assert_eq!(errors.lines().count(), 5, "{errors}");
    assert!(!errors.contains("hunter"), "{errors}");
}

#[test]
fn a_command_says_what_it_cannot_do_without() {
    let config = Place::new().loaded().config;
    assert_eq!(
        config.require(Needs::ALL).unwrap_err().to_string(),
        "database.url is not set: give it as FILE_RECYCLER_DATABASE__URL, as database.url in the configuration file, or by db in the CRM's ConnectionStrings.config\n\
         broker.url is not set: give it as FILE_RECYCLER_BROKER__URL, as broker.url in the configuration file, or by messageBroker in the CRM's ConnectionStrings.config\n\
         storage.object_bucket_name is not set: give it as FILE_RECYCLER_STORAGE__OBJECT_BUCKET_NAME, as storage.object_bucket_name in the configuration file, or by s3Connection in the CRM's ConnectionStrings.config\n\
         storage.recycle_bucket_name is not set: give it as FILE_RECYCLER_STORAGE__RECYCLE_BUCKET_NAME, as storage.recycle_bucket_name in the configuration file, or by s3Connection in the CRM's ConnectionStrings.config"
    );
    assert!(config.require(Needs::NONE).is_ok());
}

#[test]
fn neither_the_configuration_nor_its_settings_show_a_secret() {
    let place = Place::new()
        .env("FILE_RECYCLER_DATABASE__URL", "postgres://u:hunter2@h/d?password=hunter2")
        .env("FILE_RECYCLER_BROKER__URL", "amqp://u:hunter2@h/v")
        .env("FILE_RECYCLER_STORAGE__ACCESS_KEY", "hunter2")
        .env("FILE_RECYCLER_STORAGE__SECRET_KEY", "hunter2")
        .env("FILE_RECYCLER_HTTP__TOKEN", "hunter2");
    let shown = format!("{:?}", place.loaded());
    assert!(!shown.contains("hunter2"), "{shown}");
}
