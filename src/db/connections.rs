//! The connections to the database: one is waited for with patience while the server lets anybody in, and not where it
//! does not; and no answer is waited for on one whose other end is gone.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgStatement, PgTypeInfo};
use sqlx::{ConnectOptions, Connection as _, Either, Execute, Executor, Postgres, SqlStr, Transaction};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::error::Elapsed;

use super::error::{DbError, Problem};

/// Most connections at once.
const MAX_CONNECTIONS: u32 = 16;
/// How long a connection is waited for until the server is asked whether it lets anybody in.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the server may take to let one in.
const LET_IN_WITHIN: Duration = Duration::from_secs(5);
/// Longest wait while the server lets others in: then all connections are busy, or this process gets too little of
/// its machine. As long as a statement may take.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long an idle connection may take to show that it still leads somewhere.
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// How long an answer is waited for. The server ends a statement after thirty seconds: one that is still silent then is not
/// there any more, and nothing else would say so where its machine has gone without a word.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(45);
/// How long several statements may take together: a server that ends each of them after thirty seconds is gone then.
pub(super) const SEVERAL_WITHIN: Duration = Duration::from_mins(3);
/// What is said then.
const SILENT: &str = "the server does not answer";
/// PostgreSQL's code for "too many connections".
const FULL: &str = "53300";

/// What a step of a query comes to, as sqlx tells it.
type Step<DB> = Either<<DB as sqlx::Database>::QueryResult, <DB as sqlx::Database>::Row>;

/// A pool of connections. Clones share them.
#[derive(Clone)]
pub(super) struct Connections {
    pool: PgPool,
    /// What the server said last when it was asked to let somebody in. Whoever asks holds it: one at a time, or those who
    /// wait would keep each other from their turn.
    answer: Arc<Mutex<Option<Answer>>>,
}

/// What came of asking the server to let somebody in.
struct Answer {
    at: Instant,
    /// Why not, if not.
    refusal: Option<String>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("open", &self.pool.size()).finish_non_exhaustive()
    }
}

impl Connections {
    /// None is opened yet.
    pub(super) fn new(options: PgConnectOptions) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(LONGEST_WAIT)
            // sqlx's own look at an idle connection has no end where nobody is at the other end.
            .test_before_acquire(false)
            .before_acquire(|connection, _| {
                async {
                    let pong = tokio::time::timeout(PONG_WITHIN, connection.ping()).await;
                    Ok(matches!(pong, Ok(Ok(()))))
                }
                .boxed()
            });
        Self { pool: pool.connect_lazy_with(options), answer: Arc::default() }
    }

    /// A connection, or why there is none.
    pub(super) async fn acquire(&self) -> sqlx::Result<PoolConnection<Postgres>> {
        self.patiently(self.pool.acquire().boxed()).await
    }

    /// A transaction on a connection of its own.
    pub(super) async fn begin(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.patiently(self.pool.begin().boxed()).await
    }

    /// A transaction that this statement begins.
    pub(super) async fn begin_with(
        &self,
        statement: &'static str,
    ) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.patiently(self.pool.begin_with(statement).boxed()).await
    }

    /// Closes every connection, after what is in flight.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    /// Waits for what the pool gives. The pool tries again and again and only says that there was nothing in time, so that
    /// a server that is down looks like one whose connections are all busy, and like a process that gets no turn: it is
    /// the server that is asked then, and its answer decides.
    async fn patiently<T>(&self, mut given: BoxFuture<'_, sqlx::Result<T>>) -> sqlx::Result<T> {
        if let Ok(given) = tokio::time::timeout(PATIENCE, &mut given).await {
            return given;
        }
        tokio::select! {
            given = &mut given => return given,
            answer = self.lets_in() => answer?,
        }
        tokio::time::timeout(ANSWERED_WITHIN, given).await.unwrap_or_else(|_| Err(silent()))
    }

    /// Does the server let anybody in? If not: why. Who has waited for another's question takes its answer.
    async fn lets_in(&self) -> sqlx::Result<()> {
        let waiting_since = Instant::now();
        let mut answer = self.answer.lock().await;
        if let Some(Answer { at, refusal }) = &*answer {
            match refusal {
                None if at.elapsed() < PATIENCE => return Ok(()),
                Some(why) if *at > waiting_since => return Err(sqlx::Error::Protocol(why.clone())),
                _ => {}
            }
        }
        let options = self.pool.connect_options();
        let (tell, told) = oneshot::channel();
        let asking = Arc::clone(&options);
        // A thread of its own: where this process is behind with its work, the answer must not wait in the same line.
        let thread = std::thread::Builder::new().name("database".to_owned());
        if thread.spawn(move || tell.send(ask(&asking))).is_err() {
            // Nothing is known: the wait goes on.
            return Ok(());
        }
        let all_are_ours = |error: &sqlx::Error| {
            let full = error.as_database_error().is_some_and(|error| error.code().as_deref() == Some(FULL));
            full && self.pool.size() >= MAX_CONNECTIONS
        };
        let result = match told.await {
            Ok(Err(error)) if !all_are_ours(&error) => Err(located(error, &options)),
            _ => Ok(()),
        };
        let refusal = result.as_ref().err().map(|error: &sqlx::Error| match error {
            sqlx::Error::Protocol(why) => why.clone(),
            error => error.to_string(),
        });
        *answer = Some(Answer { at: Instant::now(), refusal });
        result
    }
}

/// Opens a connection and closes it again.
fn ask(options: &PgConnectOptions) -> sqlx::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let opened = runtime.block_on(async {
        let opening = tokio::time::timeout(LET_IN_WITHIN, options.connect());
        let connection = opening.await.map_err(|_| silent())??;
        // It has said what it was for; how it ends tells nothing more.
        let _ = connection.close().await;
        Ok(())
    });
    // A name that nobody resolves is not waited for.
    runtime.shutdown_background();
    opened
}

fn silent() -> sqlx::Error {
    sqlx::Error::Protocol(SILENT.to_owned())
}

/// What came of an answer. A connection on which there was none in time is of no use to anybody.
fn in_time<T>(
    connection: &mut PoolConnection<Postgres>,
    answered: Result<sqlx::Result<T>, Elapsed>,
) -> sqlx::Result<T> {
    answered.unwrap_or_else(|_| {
        connection.close_on_drop();
        Err(silent())
    })
}

/// The same for what is asked on a connection that is somebody's for longer, with so much time in all.
pub(super) async fn within<T>(
    limit: Duration,
    doing: &str,
    asked: impl Future<Output = Result<T, DbError>>,
) -> Result<T, DbError> {
    tokio::time::timeout(limit, asked)
        .await
        .unwrap_or_else(|_| Err(DbError::new(doing, Problem::Connection(SILENT.to_owned()))))
}

/// What the operating system says of a connection, with where it was tried.
fn located(error: sqlx::Error, options: &PgConnectOptions) -> sqlx::Error {
    match error {
        sqlx::Error::Io(error) if error.get_ref().is_none() => {
            let told = format!("{}:{}: {error}", options.get_host(), options.get_port());
            sqlx::Error::Io(std::io::Error::new(error.kind(), told))
        }
        other => other,
    }
}

/// Each query on a connection of its own, as on sqlx's pool.
impl<'p> Executor<'p> for &'_ Connections {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<Step<Postgres>>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let connections = self.clone();
        let (steps, mut told) = mpsc::channel(1);
        let asking = async move {
            let mut connection = connections.acquire().await?;
            let ended = {
                let mut answer = connection.fetch_many(query);
                loop {
                    match tokio::time::timeout(ANSWERED_WITHIN, answer.try_next()).await {
                        // Whoever reads is polled beside this; that nobody reads any more ends both.
                        Ok(Ok(Some(step))) => drop(steps.send(step).await),
                        ended => break ended,
                    }
                }
            };
            in_time(&mut connection, ended)
        };
        let asking = asking.into_stream().try_filter_map(|_| ready(Ok(None)));
        stream::select(stream::poll_fn(move |cx| told.poll_recv(cx)).map(Ok), asking).boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, sqlx::Result<Option<sqlx::postgres::PgRow>>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let connections = self.clone();
        async move {
            let mut connection = connections.acquire().await?;
            let answered = tokio::time::timeout(ANSWERED_WITHIN, connection.fetch_optional(query)).await;
            in_time(&mut connection, answered)
        }
        .boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'p: 'e,
    {
        let connections = self.clone();
        async move { connections.acquire().await?.prepare_with(sql, parameters).await }.boxed()
    }

    /// Asked by sqlx's own macros alone; the trait has it with the features that are compiled here.
    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<sqlx::Describe<Postgres>>>
    where
        'p: 'e,
    {
        let connections = self.clone();
        async move { connections.acquire().await?.describe(sql).await }.boxed()
    }
}
