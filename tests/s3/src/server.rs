//! Starting and stopping the embedded server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use s3s::path::check_bucket_name;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpResponse, StdError};

use crate::api::Api;
use crate::control::Control;
use crate::fit::Place;
use crate::listen::{Caller, Host, Listener};
use crate::options::Options;
use crate::store::Store;
use crate::switches::Switches;
use crate::users::Users;
use crate::{gate, plane};

/// A running server. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    control: Control,
}

impl Server {
    /// Binds the address and serves on the current runtime.
    ///
    /// Fails if the address cannot be bound or a bucket's name is none.
    pub async fn start(options: Options) -> io::Result<Self> {
        if let Some(name) = options.buckets.iter().find(|name| !check_bucket_name(name)) {
            let message = format!("{name:?} is no name for a bucket");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let store = Arc::new(Store::new(&options));
        let switches = Switches::new(Place::Server, options.latency);
        let mut builder = S3ServiceBuilder::new(Api::new(Arc::clone(&store), &options));
        let users = Users::default();
        users.set(&options.access_key, &options.secret_key, None);
        builder.set_auth(users.clone());
        let (switches_there, store_there) = (switches.clone(), Arc::clone(&store));
        builder.set_access(gate::Warden {
            switches: switches_there,
            users: users.clone(),
            store: store_there,
        });
        let bandwidth = switches.0.bandwidth.clone();
        let host = Embedded { service: builder.build(), switches: switches.clone() };
        let listener = Listener::start(options.listen, host, bandwidth).await?;
        Ok(Self { listener, control: Control { switches, store, users } })
    }

    /// The address that was bound.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// The endpoint for clients, such as `http://127.0.0.1:9000`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The handle that disturbs and observes this server.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Stops listening, gives requests under way a moment to end, and drops the rest.
    pub async fn stop(self) {
        self.listener.stop().await;
    }
}

/// What answers the requests.
#[derive(Clone)]
struct Embedded {
    service: S3Service,
    switches: Switches,
}

impl Host for Embedded {
    async fn answer(self, request: Request<Incoming>, caller: Caller) -> Result<HttpResponse, StdError> {
        let request = request.map(Body::from);
        if request.uri().path().starts_with(plane::PREFIX) {
            return Ok(plane::serve(request, &self.switches, caller.loopback).await);
        }
        gate::serve(request, &self.service, &self.switches, caller).await
    }
}
