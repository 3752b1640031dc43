//! The examples of producers run as their headers say, and the files of their events are recycled.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

use super::{TOKEN, deleted, deleted_elsewhere, nothing_was_told, post, with_token};
use crate::support::folder::Folder;
use crate::support::process::{Service, eventually};
use crate::support::world::{S3, world};

/// How long a CRM may take for anything.
const BOUND: Duration = Duration::from_mins(1);

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples").join(name)
}

/// Runs an example as its header says.
async fn runs(program: &Path, address: SocketAddr, arguments: &[String]) -> std::process::Output {
    let token = std::env::temp_dir().join(format!("file-recycler-token-{}", Uuid::new_v4().simple()));
    std::fs::write(&token, format!("{TOKEN}\n")).unwrap();
    let output = Command::new(program)
        .args(arguments)
        .env("FILE_RECYCLER_URL", format!("http://{address}"))
        .env("FILE_RECYCLER_TOKEN_FILE", &token)
        .kill_on_drop(true)
        .output()
        .await;
    std::fs::remove_file(&token).unwrap();
    output.unwrap()
}

#[tokio::test]
async fn the_examples_in_curl_and_python_have_their_files_recycled() {
    world(S3::Embedded, async |world| {
        let service = Service::start(&with_token(&world), &["run"]).await.ready().await.expect_log("paused");
        for program in ["curl/post-event.sh", "python/post_event.py"] {
            let (record, files) = deleted_elsewhere(&world, 2).await;
            let mut arguments = vec!["Contact".to_owned(), record.to_string()];
            arguments.extend(files.iter().map(Uuid::to_string));
            // While paused it is 503, and both try again.
            world.cli(&["pause", "--why", "a test"]).await.expect(0);
            let event = deleted("an-event-id", record, &[]);
            eventually("the pause is seen", async || {
                (post(&service, &event).await.status == 503).then_some(())
            })
            .await;
            let refused = service.metric(r#"file_recycler_intake_events_total{result="unavailable"}"#).await;
            let resuming = async {
                eventually("it was told to wait", async || {
                    let now = r#"file_recycler_intake_events_total{result="unavailable"}"#;
                    (service.metric(now).await > refused).then_some(())
                })
                .await;
                world.cli(&["resume"]).await.expect(0);
            };
            let path = example(program);
            let (output, ()) = tokio::join!(runs(&path, service.http, &arguments), resuming);
            assert!(output.status.success(), "{program}: {output:?}");
            for file in &files {
                world.recycled(*file).await;
            }
            arguments[1] = "no-uuid".to_owned();
            let output = runs(&path, service.http, &arguments).await;
            assert!(!output.status.success(), "{program}: what is wrong is not tried again: {output:?}");
            let told = format!("{output:?}");
            assert!(told.contains("data.record_id") && !told.contains(TOKEN), "{told}");
        }
        nothing_was_told(service).await;
    })
    .await;
}

/// A server that gives each of these answers, as far as they go, to one request, and takes the one after them. In the end
/// it has the bodies of all requests.
async fn answering(answers: &'static [&'static str]) -> (SocketAddr, JoinHandle<Vec<Vec<u8>>>) {
    const TAKEN: &str = "HTTP/1.1 202 Accepted\r\nContent-Length: 10\r\n\r\n{\"id\":\"x\"}";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let mut bodies = Vec::new();
        for answer in answers.iter().chain([&TAKEN]) {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            let body = loop {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "the request ends early");
                let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let (_, length) = head.split_once("content-length: ").unwrap();
                let length: usize = length.lines().next().unwrap().parse().unwrap();
                if body.len() == length {
                    break request.split_off(request.len() - length);
                }
            };
            bodies.push(body);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        bodies
    });
    (address, serving)
}

#[tokio::test]
async fn an_event_whose_answer_was_lost_or_cut_is_posted_again_by_curl_and_python() {
    const ANSWERS: &[&str] = &[
        "HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\n{\"id\":",
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 100\r\n\r\n{",
        "",
    ];
    let posted = async |program: &str| {
        let (address, serving) = answering(ANSWERS).await;
        let arguments = ["Contact".to_owned(), Uuid::new_v4().to_string()];
        let output = runs(&example(program), address, &arguments).await;
        assert!(output.status.success(), "{program}: {output:?}");
        let bodies = serving.await.unwrap();
        assert!(bodies.iter().all(|body| *body == bodies[0]), "{program}: it is the same event");
    };
    tokio::join!(posted("curl/post-event.sh"), posted("python/post_event.py"));
}

/// The example for Creatio, compiled with a stand-in for the CRM.
async fn compiled() -> (Folder, PathBuf) {
    const JSON: &str = "/usr/lib/cli/Newtonsoft.Json-5.0/Newtonsoft.Json.dll";
    let folder = Folder::create();
    let program = folder.path().join("stand-in.exe");
    let stand_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/creatio.cs");
    let output = Command::new("mcs")
        .args(["-langversion:7.2", "-warnaserror", "-r:System.Net.Http.dll"])
        .args([&format!("-r:{JSON}"), &format!("-out:{}", program.display())])
        .args([&stand_in, &example("csharp/RecordDeletedListener.cs")])
        .output()
        .await
        .expect("mcs is installed by deploy/local");
    assert!(output.status.success(), "{output:?}");
    // It looks for it beside itself.
    std::fs::copy(JSON, folder.path().join("Newtonsoft.Json.dll")).unwrap();
    (folder, program)
}

/// A CRM in which a user of this language deletes a record, so many times, with files that are each named with their
/// schema. It runs until its standard input ends.
fn crm(
    program: &Path,
    (url, token): (&str, &str),
    (language, times): (&str, u32),
    names: &[String],
) -> Child {
    Command::new("mono")
        .arg(program)
        .args([url, token, language, &times.to_string()])
        .args(names)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("mono is installed by deploy/local")
}

/// What a CRM logs next; whatever it has logged behind it is lost.
async fn line_of_log(crm: &mut Child) -> String {
    let mut log = BufReader::new(crm.stderr.take().unwrap()).lines();
    timeout(BOUND, log.next_line()).await.expect("it logs something").unwrap().unwrap_or_default()
}

/// What a CRM has logged until it was ended.
async fn logged(mut crm: Child) -> String {
    drop(crm.stdin.take());
    let output = crm.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn the_example_for_creatio_has_files_recycled_whatever_the_users_language() {
    let (_folder, program) = compiled().await;
    world(S3::Embedded, async |world| {
        let service = Service::start(&with_token(&world), &["run"]).await.ready().await.expect_log("paused");
        let url = format!("http://{}/", service.http);
        // Its languages write a time with points, and in another year. Accounts have no schema of files of their own there.
        for (language, schema, schema_of_file) in
            [("fi-FI", "Contact", "ContactFile"), ("th-TH", "Account", "SysFile")]
        {
            let (record, files) = deleted_elsewhere(&world, 2).await;
            world.cli(&["pause", "--why", "a test"]).await.expect(0);
            let event = deleted("an-event-id", record, &[]);
            eventually("the pause is seen", async || {
                (post(&service, &event).await.status == 503).then_some(())
            })
            .await;
            let unavailable = r#"file_recycler_intake_events_total{result="unavailable"}"#;
            let refused = service.metric(unavailable).await;
            let names = [
                schema.to_owned(),
                record.to_string(),
                format!("{schema_of_file}:{}", files[0]),
                format!("SysFile:{}", files[1]),
            ];
            let crm = crm(&program, (&url, TOKEN), (language, 1), &names);
            eventually("it was told to wait", async || {
                (service.metric(unavailable).await > refused).then_some(())
            })
            .await;
            world.cli(&["resume"]).await.expect(0);
            for file in &files {
                world.recycled(*file).await;
            }
            assert_eq!(logged(crm).await, "");
            let years = format!(
                "SELECT count(*) FROM file_recycler.ledger WHERE record_id = '{record}'
                   AND deleted_at BETWEEN now() - interval '1 hour' AND now() + interval '1 hour'"
            );
            eventually("they are noted, with this year", async || {
                (world.crm.number(&years).await == 2).then_some(())
            })
            .await;
        }
        // Nothing is tried again that stays wrong.
        let refused = r#"file_recycler_intake_events_total{result="refused"}"#;
        let names = ["Contact".to_owned(), Uuid::new_v4().to_string()];
        let mut crm = crm(&program, (&url, "another-token"), ("en-US", 1), &names);
        eventually("it is refused", async || (service.metric(refused).await == 1).then_some(())).await;
        let line = line_of_log(&mut crm).await;
        assert!(line.contains("refused with 401") && !line.contains("another-token"), "{line}");
        assert_eq!(logged(crm).await, "");
        nothing_was_told(service).await;
    })
    .await;
}

#[tokio::test]
async fn the_example_for_creatio_holds_up_no_deletion_and_logs_what_it_could_not_announce() {
    let (_folder, program) = compiled().await;
    let (record, file) = (Uuid::new_v4().to_string(), Uuid::new_v4());
    let names = ["Contact".to_owned(), record.clone(), format!("SysFile:{file}")];
    let mut crm_of_nowhere = crm(&program, ("no address", TOKEN), ("en-US", 1), &names);
    let line = line_of_log(&mut crm_of_nowhere).await;
    for told in ["are FileRecyclerUrl and FileRecyclerToken right?", &record, &file.to_string()] {
        assert!(line.contains(told), "{line}");
    }
    assert!(!line.contains(TOKEN), "{line}");

    // A query that fails: the deletion goes on, and is announced without these files.
    let broken = [&names[..2], &["ContactFile:broken".to_owned(), names[2].clone()]].concat();
    let (address, serving) = answering(&[]).await;
    let crm_of_broken = crm(&program, (&format!("http://{address}"), TOKEN), ("en-US", 1), &broken);
    let posted = timeout(BOUND, serving).await.expect("it is announced").unwrap();
    let posted = String::from_utf8_lossy(&posted[0]);
    assert!(posted.contains(&record) && posted.contains(&file.to_string()), "{posted}");
    let told = logged(crm_of_broken).await;
    assert!(told.contains("Files in ContactFile could not be read") && told.contains(&record), "{told}");

    // Nobody listens, and all places are taken: no deletion waits for one.
    let mut crowded = crm(&program, ("http://127.0.0.1:1", TOKEN), ("en-US", 1_001), &names);
    let mut said = BufReader::new(crowded.stdout.take().unwrap()).lines();
    let deleted = timeout(BOUND, said.next_line()).await.expect("no deletion waits").unwrap();
    assert_eq!(deleted.as_deref(), Some("deleted"));
    // It is not ended by its standard input: Mono may crash over so many posts that are cut off.
    let line = line_of_log(&mut crowded).await;
    assert!(line.contains("too many wait for their answer") && line.contains(&record), "{line}");
}
