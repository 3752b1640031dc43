//! What is wrong, in the exact words that an operator reads.

use super::*;

#[test]
fn a_wrong_variable_is_named_with_its_key() {
    for (variable, value, error) in [
        (
            "STORAGE__REGIO",
            "x",
            "FILE_RECYCLER_STORAGE__REGIO is not a variable of this program; did you mean FILE_RECYCLER_STORAGE__REGION?",
        ),
        (
            "STORAGE_REGION",
            "x",
            "FILE_RECYCLER_STORAGE_REGION is not a variable of this program; did you mean FILE_RECYCLER_STORAGE__REGION?",
        ),
        (
            "storage__region",
            "x",
            "FILE_RECYCLER_storage__region is not a variable of this program; did you mean FILE_RECYCLER_STORAGE__REGION?",
        ),
        (
            "STORAGE__CA_FILE_FILE",
            "x",
            "FILE_RECYCLER_STORAGE__CA_FILE_FILE is not known: only a secret can be given as a file; set FILE_RECYCLER_STORAGE__CA_FILE",
        ),
        (
            "STORAGE__REGION_FILE",
            "x",
            "FILE_RECYCLER_STORAGE__REGION_FILE is not known: only a secret can be given as a file; set FILE_RECYCLER_STORAGE__REGION",
        ),
        (
            "CRM__FILE_TABLE",
            "x",
            "crm.file_table (environment FILE_RECYCLER_CRM__FILE_TABLE) is a table, and tables are set in the configuration file only",
        ),
        (
            "STORAGE__REGION",
            "",
            "storage.region (environment FILE_RECYCLER_STORAGE__REGION) is empty; leave it out to have it unset",
        ),
        (
            "STORAGE__REGION",
            "eu\u{FFFD}",
            "storage.region (environment FILE_RECYCLER_STORAGE__REGION) is not UTF-8",
        ),
        (
            "STORAGE__REGION",
            "eu west",
            "storage.region (environment FILE_RECYCLER_STORAGE__REGION) is 'eu west', not a word of letters, digits, '-' or '_'",
        ),
        (
            "DATABASE__URL_FILE",
            "",
            "FILE_RECYCLER_DATABASE__URL_FILE is empty; leave it out to have it unset",
        ),
        (
            "DATABASE__URL_FILE",
            "none",
            "FILE_RECYCLER_DATABASE__URL_FILE names DIR/none, which cannot be read: No such file or directory (os error 2)",
        ),
        (
            "LISTENER__AUTO_INSTALL",
            "yes",
            "listener.auto_install (environment FILE_RECYCLER_LISTENER__AUTO_INSTALL) is 'yes', neither true nor false",
        ),
        (
            "WORKER__PREFETCH",
            "many",
            "worker.prefetch (environment FILE_RECYCLER_WORKER__PREFETCH) is 'many', not a whole number from 1 to 65535",
        ),
        (
            "RETRY__DELAYS",
            "1s,5s",
            "retry.delays (environment FILE_RECYCLER_RETRY__DELAYS) is '1s,5s', not a list as in TOML: [\"one\", \"two\"]",
        ),
    ] {
        let place = Place::new().env(&format!("FILE_RECYCLER_{variable}"), value);
        assert_eq!(place.errors(), error);
    }
}

#[test]
fn a_wrong_flag_is_named_with_its_key() {
    for (set, error) in [
        ("hunter2", "--set needs KEY=VALUE, and got no '='"),
        (
            "storage.bucket=x",
            "storage.bucket (--set) is not a key of this program; `config show` lists them all",
        ),
        (
            "http.token=hunter2",
            "http.token (--set) is a secret, and every user of the machine can read a command line: set FILE_RECYCLER_HTTP__TOKEN, FILE_RECYCLER_HTTP__TOKEN_FILE or http.token in the configuration file",
        ),
        (
            "crm.file_table=x",
            "crm.file_table (--set) is a table, and tables are set in the configuration file only",
        ),
        (
            "storage.connect_timeout=3",
            "storage.connect_timeout (--set) is 3, without a unit: write ms, s, m, h or d after the number",
        ),
        (
            "storage.connect_timeout=3sec",
            "storage.connect_timeout (--set) is '3sec', not a duration: write 500ms, 30s, 15m, 6h or 90d",
        ),
        ("storage.connect_timeout=0s", "storage.connect_timeout (--set) is 0s, less than 1ms"),
        ("storage.connect_timeout=40000d", "storage.connect_timeout (--set) is '40000d', longer than 36500d"),
        ("listener.poll=19ms", "listener.poll (--set) is 19ms, less than 20ms"),
        ("retention.database_backups=23h", "retention.database_backups (--set) is 23h, less than 1d"),
        ("recycle.concurrency=0", "recycle.concurrency (--set) is '0', not a whole number from 1 to 4096"),
        (
            "recycle.concurrency=4097",
            "recycle.concurrency (--set) is '4097', not a whole number from 1 to 4096",
        ),
        ("worker.prefetch=65536", "worker.prefetch (--set) is '65536', not a whole number from 1 to 65535"),
        ("recycle.brake=-1", "recycle.brake (--set) is '-1', not a whole number of at least 0"),
        ("recycle.mode=copy", "recycle.mode (--set) is 'copy', not one of: move, observe"),
        (
            "storage.path_style=sometimes",
            "storage.path_style (--set) is 'sometimes', not one of: auto, path, virtual_host",
        ),
        (
            "storage.service_url=s3.example:9000",
            "storage.service_url (--set) is 's3.example:9000', which does not begin with https:// or http://",
        ),
        (
            "storage.service_url=s3.example",
            "storage.service_url (--set) is not a URL (relative URL without a base); write https://server or http://server:port",
        ),
        (
            "storage.service_url=https://key:hunter2@s3",
            "storage.service_url (--set) has a user name or password in it; those are storage.access_key and storage.secret_key",
        ),
        (
            "storage.service_url=https://s3/?x=y",
            "storage.service_url (--set) has a '?' or a '#' in it; it is the address of a server",
        ),
        (
            "storage.key_template=files",
            "storage.key_template (--set) has no {file_id} in it: all files would share one key",
        ),
        (
            "storage.key_template={id}",
            "storage.key_template (--set) {id} is not known; use {file_id}, {file_id:upper}, {file_id:simple} or {schema}",
        ),
        (
            "storage.ca_file=none",
            "storage.ca_file (--set) names DIR/none, which cannot be read: No such file or directory (os error 2)",
        ),
        ("storage.ca_file=.", "storage.ca_file (--set) names DIR/., which is not a file"),
        (
            "broker.prefix=a b",
            "broker.prefix (--set) is 'a b', not 1 to 200 letters, digits, '.', '-' or '_'",
        ),
        ("crm.storage_codes=[]", "crm.storage_codes (--set) names no storage"),
        ("crm.profile=sap", "crm.profile (--set) is 'sap', not one of: creatio, mapping, events"),
        ("crm.profile=mapping", "crm.profile (--set) is mapping, and no [[crm.file_table]] lists a table"),
        ("crm.profile=events", "crm.profile (--set) is events, which needs crm.trust_outside_events = true"),
        (
            "crm.connection_strings=none",
            "crm.connection_strings (--set) names DIR/none, which cannot be read: No such file or directory (os error 2)",
        ),
        (
            "retry.delays=[\"10\"]",
            "retry.delays (--set) has an entry that is 10, without a unit: write ms, s, m, h or d after the number",
        ),
        ("retry.delays=[\"1s\",\"1s\"]", "retry.delays (--set) has '1s' twice: each names a queue"),
        ("retry.delays=[\"0s\"]", "retry.delays (--set) has '0s', not between 1ms and 49d"),
        ("retry.delays=[\"50d\"]", "retry.delays (--set) has '50d', not between 1ms and 49d"),
        (
            "http.listen=8077",
            "http.listen (--set) is '8077', not an address with a port as in 127.0.0.1:8077 (empty: off)",
        ),
        (
            "storage.object_bucket_name=files",
            "storage.object_bucket_name (--set) is set, and storage.recycle_bucket_name is not: set both or neither",
        ),
    ] {
        assert_eq!(Place::new().set(set).errors(), error);
    }
}

#[test]
fn a_wrong_line_of_the_file_is_named_with_its_key() {
    for (toml, error) in [
        (
            "\nstorage.regio = 'x'",
            "storage.regio (DIR/file-recycler.toml line 2) is not a key of this program; did you mean storage.region?",
        ),
        (
            "[storage]\n\nsecret = 'x'",
            "storage.secret (DIR/file-recycler.toml line 3) is not a key of this program; `config show` lists them all",
        ),
        ("storage = 'x'", "storage (DIR/file-recycler.toml line 1) is a section, not a value"),
        ("[storage.region]\nx = 1", "storage.region (DIR/file-recycler.toml line 1) is a table, not a text"),
        (
            "'storage.region' = 'x'",
            "storage.region (DIR/file-recycler.toml line 1) is not a key of this program; did you mean storage.region?",
        ),
        ("storage.region = 5", "storage.region (DIR/file-recycler.toml line 1) is a number, not a text"),
        ("database.url = 5", "database.url (DIR/file-recycler.toml line 1) is a number, not a text"),
        (
            "listener.poll = 5",
            "listener.poll (DIR/file-recycler.toml line 1) is 5, without a unit: write ms, s, m, h or d after the number",
        ),
        (
            "listener.auto_install = 'true'",
            "listener.auto_install (DIR/file-recycler.toml line 1) is a text, neither true nor false",
        ),
        (
            "worker.prefetch = '5'",
            "worker.prefetch (DIR/file-recycler.toml line 1) is a text, not a whole number",
        ),
        (
            "worker.prefetch = 1.5",
            "worker.prefetch (DIR/file-recycler.toml line 1) is a fraction, not a whole number",
        ),
        ("retry.delays = '1s'", "retry.delays (DIR/file-recycler.toml line 1) is a text, not a list"),
        (
            "retry.delays = ['1s', 5]",
            "retry.delays (DIR/file-recycler.toml line 1) has an entry, number 2, that is a number, not a text",
        ),
        (
            "http.token = 'hunter2",
            "DIR/file-recycler.toml line 1 is not TOML: invalid literal string, expected `'`",
        ),
        (
            "crm.file_table = 5\ncrm.profile = 'mapping'",
            "crm.file_table (DIR/file-recycler.toml line 1) is not a list of tables: write [[crm.file_table]] for each",
        ),
        (
            "[[crm.file_table]]\ntable = 'a'\nid = 'b'",
            "crm.file_table (DIR/file-recycler.toml line 1) is listed, and crm.profile is not mapping",
        ),
    ] {
        assert_eq!(Place::new().file(toml).errors(), error);
    }
    let mut place = Place::new();
    place.sources.config_file = Some("none.toml".into());
    assert_eq!(place.errors(), "DIR/none.toml cannot be read: No such file or directory (os error 2)");
    place.sources.config_file = Some("large.toml".into());
    place.write("large.toml", "#".repeat(1024 * 1024 + 1));
    assert_eq!(place.errors(), "DIR/large.toml is larger than 1024 KiB");
    place.write("large.toml", b"# \xFF");
    assert_eq!(place.errors(), "DIR/large.toml is not UTF-8");
}

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
