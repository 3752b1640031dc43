//! The connections to the database: one is waited for with patience while the server lets anybody in, and not where it
//! does not.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgStatement, PgTypeInfo};
use sqlx::{ConnectOptions, Connection as _, Either, Execute, Executor, Postgres, SqlStr, Transaction};
use tokio::sync::{Mutex, mpsc, oneshot};

/// Most connections at once.
const MAX_CONNECTIONS: u32 = 16;
/// How long a connection is waited for until the server is asked whether it lets anybody in.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the server may take to let one in.
const LET_IN_WITHIN: Duration = Duration::from_secs(5);
/// Longest wait while the server lets others in: then all connections are busy, or this process gets too little of
/// its machine. As long as a statement may take.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Steps of a query that are ahead of whoever reads them.
const AHEAD: usize = 16;

/// What a step of a query comes to, as sqlx tells it.
type Step<DB> = Either<<DB as sqlx::Database>::QueryResult, <DB as sqlx::Database>::Row>;

/// A pool of connections. Clones share them.
#[derive(Clone)]
pub(super) struct Connections {
    pool: PgPool,
    /// When the server was last seen to let somebody in. Whoever asks holds it: one at a time, or those who wait would
    /// keep each other from their turn.
    let_in: Arc<Mutex<Option<Instant>>>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("open", &self.pool.size()).finish_non_exhaustive()
    }
}

impl Connections {
    /// None is opened yet.
    pub(super) fn new(options: PgConnectOptions) -> Self {
        let pool = PgPoolOptions::new().max_connections(MAX_CONNECTIONS).acquire_timeout(LONGEST_WAIT);
        Self { pool: pool.connect_lazy_with(options), let_in: Arc::default() }
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
        given.await
    }

    /// Does the server let anybody in? If not: why.
    async fn lets_in(&self) -> sqlx::Result<()> {
        let mut let_in = self.let_in.lock().await;
        if let_in.is_some_and(|at| at.elapsed() < PATIENCE) {
            return Ok(());
        }
        let options = self.pool.connect_options();
        let (told, answer) = oneshot::channel();
        let asking = Arc::clone(&options);
        // A thread of its own: where this process is behind with its work, the answer must not wait in the same line.
        std::thread::Builder::new().name("database".to_owned()).spawn(move || told.send(ask(&asking)))?;
        match answer.await {
            Ok(Ok(())) => {
                *let_in = Some(Instant::now());
                Ok(())
            }
            Ok(Err(error)) => Err(located(error, &options)),
            // The thread panicked: nothing is known.
            Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    }
}

/// Opens a connection and closes it again.
fn ask(options: &PgConnectOptions) -> sqlx::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let opening = tokio::time::timeout(LET_IN_WITHIN, options.connect());
        let connection = opening.await.map_err(|_| sqlx::Error::PoolTimedOut)??;
        // It has said what it was for; how it ends tells nothing more.
        let _ = connection.close().await;
        Ok(())
    })
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
        let (steps, mut told) = mpsc::channel(AHEAD);
        let asking = async move {
            let mut connection = connections.acquire().await?;
            let mut answer = connection.fetch_many(query);
            while let Some(step) = answer.try_next().await? {
                // Whoever reads is polled beside this; that nobody reads any more ends both.
                let _ = steps.send(step).await;
            }
            Ok(())
        };
        let asking = asking.into_stream().try_filter_map(|()| ready(Ok(None)));
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
        async move { connections.acquire().await?.fetch_optional(query).await }.boxed()
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
