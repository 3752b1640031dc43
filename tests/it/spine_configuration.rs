//! A wrong configuration ends the process with exit 2 and names the key and the place, never the secret.

use crate::support::process;

/// A complete configuration, with one setting changed or added.
fn with(key: &str, value: &str) -> Vec<(String, String)> {
    let complete = [
        ("DATABASE__URL", "postgres://crm:hush@127.0.0.1/crm"),
        ("BROKER__URL", "amqp://guest:hush@127.0.0.1"),
        ("STORAGE__SERVICE_URL", "http://127.0.0.1:1"),
        ("STORAGE__ACCESS_KEY", "key"),
        ("STORAGE__SECRET_KEY", "hush"),
        ("STORAGE__OBJECT_BUCKET_NAME", "objects"),
        ("STORAGE__RECYCLE_BUCKET_NAME", "recycled"),
    ];
    let mut environment: Vec<(String, String)> = complete
        .iter()
        .filter(|(known, _)| *known != key)
        .map(|(known, value)| (format!("FILE_RECYCLER_{known}"), (*value).to_owned()))
        .collect();
    if value != "(unset)" {
        environment.push((format!("FILE_RECYCLER_{key}"), value.to_owned()));
    }
    environment
}

#[tokio::test]
async fn every_wrong_setting_ends_the_process_with_exit_2_and_its_name() {
    for (key, value, named) in [
        ("DATABASE__URL", "(unset)", "database.url"),
        ("DATABASE__URL", "mysql://crm:hush@127.0.0.1/crm", "database.url"),
        ("BROKER__URL", "(unset)", "broker.url"),
        ("BROKER__URL", "http://guest:hush@127.0.0.1", "broker.url"),
        ("BROKER__PREFIX", "a/b", "broker.prefix"),
        ("STORAGE__OBJECT_BUCKET_NAME", "(unset)", "storage.object_bucket_name"),
        ("STORAGE__RECYCLE_BUCKET_NAME", "objects", "storage.recycle_bucket_name"),
        ("STORAGE__SERVICE_URL", "ftp://127.0.0.1", "storage.service_url"),
        ("STORAGE__SECRET_KEY", "(unset)", "storage.secret_key"),
        ("STORAGE__SECRET_KEY_FILE", "/nowhere/secret", "STORAGE__SECRET_KEY_FILE"),
        ("STORAGE__PATH_STYLE", "sometimes", "storage.path_style"),
        ("STORAGE__KEY_TEMPLATE", "files", "storage.key_template"),
        ("STORAGE__CONNECT_TIMEOUT", "3 parsecs", "storage.connect_timeout"),
        ("STORAGE__CA_FILE", "/nowhere/ca.pem", "storage.ca_file"),
        ("RECYCLE__GRACE", "15", "recycle.grace"),
        ("RECYCLE__MODE", "destroy", "recycle.mode"),
        ("RECYCLE__CONCURRENCY", "0", "recycle.concurrency"),
        ("RECYCLE__BRAKE", "-1", "recycle.brake"),
        ("WORKER__PREFETCH", "lots", "worker.prefetch"),
        ("RETRY__DELAYS", "10s", "retry.delays"),
        ("RETRY__DELAYS", r#"["10s", "10s"]"#, "retry.delays"),
        ("LISTENER__ON_CAPTURE_ERROR", "panic", "listener.on_capture_error"),
        ("CRM__PROFILE", "sap", "crm.profile"),
        ("CRM__PROFILE", "mapping", "crm.file_table"),
        ("CRM__CONNECTION_STRINGS", "/nowhere/ConnectionStrings.config", "crm.connection_strings"),
        ("HTTP__LISTEN", "everywhere", "http.listen"),
        ("RETENTION__DATABASE_BACKUPS", "ninety days", "retention.database_backups"),
        ("SHUTDOWN_TIMEOUT", "soon", "shutdown_timeout"),
        ("STORAGE__OBJECT_BUCKET", "objects", "FILE_RECYCLER_STORAGE__OBJECT_BUCKET"),
    ] {
        let output = process::run(&with(key, value), &["run"]).await;
        assert_eq!(output.code, 2, "{key}={value}: {output:?}");
        assert!(output.stderr.contains(named), "{key}={value}: {}", output.stderr);
        assert!(!output.stderr.contains("hush"), "{key}={value}: {}", output.stderr);
    }
}

#[tokio::test]
async fn an_unknown_option_or_a_secret_on_the_command_line_is_a_usage_error() {
    let complete = with("HTTP__LISTEN", "");
    for arguments in [
        &["run", "--set", "storage.secret_key=hush"][..],
        &["run", "--set", "recycle.speed=9"],
        &["run", "--config", "/nowhere/file-recycler.toml"],
        &["run", "--fast"],
        &["pause"],
        &["dlq", "list", "--since", "yesterday"],
        &["emit", "--schema", "Contact", "--record", "42"],
    ] {
        let output = process::run(&complete, arguments).await;
        assert_eq!(output.code, 2, "{arguments:?}: {output:?}");
    }
}
