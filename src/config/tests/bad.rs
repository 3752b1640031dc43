//! Single values that are wrong, in the exact words that an operator reads.

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
