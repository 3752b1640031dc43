//! Hostile documents and strings, by the whole way from the file to the setting.

use secrecy::ExposeSecret;

use super::*;

/// What no document may bring to light.
const HIDDEN: &str = "hunter2-of-another-file";

fn read(document: &[u8]) -> (Place, Result<Loaded, ConfigErrors>) {
    let place = Place::new().set("crm.connection_strings=cs.config");
    place.write("hidden", HIDDEN);
    place.write("cs.config", document);
    let loaded = load(&place.sources);
    (place, loaded)
}

fn utf16(text: &str, unit: fn(u16) -> [u8; 2], mark: &[u8]) -> Vec<u8> {
    [mark, &text.encode_utf16().flat_map(unit).collect::<Vec<u8>>()].concat()
}

#[test]
fn no_entity_is_expanded_and_no_other_file_is_read() {
    let elsewhere = Place::new();
    let file = format!("file://{}", elsewhere.write("hidden", HIDDEN).display());
    let body = "<connectionStrings><add name='messageBroker' connectionString='amqp://u:&x;@h/v'/></connectionStrings>";
    let laughs: Vec<String> = (1..30).map(|n| format!("<!ENTITY x{n} '&x{0};&x{0};'>", n - 1)).collect();
    let laughs = laughs.concat();
    let documents = [
        format!("<!DOCTYPE a [<!ENTITY x SYSTEM '{file}'>]>{body}"),
        format!("<?xml version='1.0'?>\n<!-- c --><!DOCTYPE a SYSTEM '{file}'>{body}"),
        format!("<!DOCTYPE a PUBLIC 'p' '{file}'>{body}"),
        format!("<!DOCTYPE a [<!ENTITY % p SYSTEM '{file}'> %p;]>{body}"),
        format!("<!DOCTYPE a [<!ENTITY x0 'ha'>{laughs}<!ENTITY x '&x29;'>]>{body}"),
        format!("<!DOCTYPE a [<!ENTITY x 'y'>]>{body}"),
        format!("<!doctype a [<!ENTITY x SYSTEM '{file}'>]>{body}"),
        format!("<a><!DOCTYPE a [<!ENTITY x SYSTEM '{file}'>]>{body}</a>"),
        body.to_owned(),
        body.replace("&x;", "&lt"),
        body.replace("&x;", "&#0;"),
        body.replace("&x;", "&#xFFFFFFFFFF;"),
    ];
    for document in documents {
        for bytes in [
            document.clone().into_bytes(),
            [b"\xEF\xBB\xBF", document.as_bytes()].concat(),
            utf16(&document, u16::to_le_bytes, b"\xFF\xFE"),
            utf16(&document, u16::to_be_bytes, b"\xFE\xFF"),
            utf16(&document, u16::to_le_bytes, b""),
            utf16(&document, u16::to_be_bytes, b""),
        ] {
            let (_place, loaded) = read(&bytes);
            let error = loaded.map(|_| ()).expect_err(&document).to_string();
            assert!(error.contains("crm.connection_strings"), "{document}: {error}");
            assert!(!error.contains(HIDDEN) && !error.contains("amqp"), "{error}");
        }
    }
}

#[test]
fn an_element_that_includes_another_file_includes_nothing() {
    let document = "<configuration xmlns:xi='http://www.w3.org/2001/XInclude'><xi:include href='hidden' parse='text'/>\
        <connectionStrings configSource='hidden'><add name='messageBroker' connectionString='amqp://h/v'/>\
        <!-- <add name='messageBroker' connectionString='amqp://comment/v'/> -->\
        <![CDATA[<add name='messageBroker' connectionString='amqp://cdata/v'/>]]></connectionStrings></configuration>";
    let (_place, loaded) = read(document.as_bytes());
    let url = loaded.unwrap().config.broker.url.unwrap();
    assert_eq!(url.expose_secret(), "amqp://h/v");
}

#[test]
fn strings_that_quote_repeat_and_mix_reach_their_settings_as_dotnet_reads_them() {
    let s3 = "SERVICEURL=http://s3:9000;accesskey=old; Access Key = \"key;with=marks\" ;SecretKey={a}=\"\"c; \
              secretKey='it''s; a \"secret\"={}' ;ObjectBucketName=Files;;objectbucketname=files;RecycleBucketName=gone;";
    let db = "server=db;PORT=5433;Database=\"c;r=m\";User ID=o'neil;password={p=;;Password='=;''\"}&%' ;Pooling=true";
    let escaped = |text: &str| text.replace('&', "&amp;").replace('\'', "&apos;").replace('<', "&lt;");
    let place = Place::new().connection_strings(&[("S3CONNECTION", &escaped(s3)), ("Db", &escaped(db))]);
    let config = place.loaded().config;
    let storage = config.storage;
    let Credentials::Keys { access_key, secret_key } = storage.credentials else { panic!("no keys") };
    assert_eq!(access_key.expose_secret(), "key;with=marks");
    assert_eq!(secret_key.expose_secret(), "it's; a \"secret\"={}");
    let (object, recycle) = storage.buckets.unwrap();
    assert_eq!((object.as_str(), recycle.as_str()), ("files", "gone"));
    assert_eq!(
        config.database.url.unwrap().expose_secret(),
        "postgres://o%27neil:%3D%3B%27%22%7D%26%25@db:5433/c%3Br%3Dm?sslmode=prefer"
    );
}
