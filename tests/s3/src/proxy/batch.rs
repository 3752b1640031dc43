//! DeleteObjects, whose keys are in its body and may go wrong one by one.

use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use s3s::{Body, HttpRequest, HttpResponse, StdError};

use super::sign::Credentials;
use super::upstream::Upstream;
use super::xml::{self, Entry, Id};
use crate::faults::KeyFault;
use crate::rule::When;

/// A thousand keys fit, and so do the answers about them.
pub(super) const MAX_BODY: usize = 4 << 20;

/// The body of a DeleteObjects; empty for any other request.
#[derive(Debug, Default)]
pub(super) struct Batch {
    text: String,
    objects: Vec<Entry>,
}

impl Batch {
    /// Reads the body, which the request keeps. One that cannot be understood has no keys here,
    /// and what to say about it is left to the server. Fails if it is too long or cut off.
    pub(super) async fn read(request: &mut HttpRequest) -> Result<Self, StdError> {
        let bytes = request.body_mut().store_all_limited(MAX_BODY).await?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let objects = xml::entries(&text, "Object").unwrap_or_default();
        Ok(Self { text, objects })
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.objects.iter().map(|object| object.id.key.as_str())
    }

    /// Has the batch done but for the keys that are to fail before the work, and tells of these
    /// and of the keys to fail after it as errors.
    pub(super) async fn pass(
        &self,
        mut request: HttpRequest,
        faults: &[KeyFault],
        upstream: &Upstream,
        credentials: Option<&Credentials>,
    ) -> Result<HttpResponse, StdError> {
        let (mut unsent, mut failed) = (Vec::new(), Vec::new());
        for object in &self.objects {
            let met = |fault: &&KeyFault| fault.key.as_ref().is_none_or(|key| *key == object.id.key);
            let Some(fault) = faults.iter().find(met) else { continue };
            failed.push((&object.id, fault.code.as_str()));
            if fault.when == When::Before {
                unsent.push(object);
            }
        }
        if !unsent.is_empty() && unsent.len() == self.objects.len() {
            return Ok(answer(&failed));
        }
        if !unsent.is_empty() {
            let credentials = credentials.ok_or("without credentials no key can be taken out")?;
            let text = xml::without(&self.text, unsent, "");
            credentials.sign(&mut request, text.as_bytes())?;
            *request.body_mut() = Body::from(text);
        }
        let response = upstream.pass(request).await?;
        if response.status().is_success() { amend(response, &failed).await } else { Ok(response) }
    }
}

/// An answer to a batch of which nothing was sent.
fn answer(failed: &[(&Id, &str)]) -> HttpResponse {
    let errors: String = failed.iter().map(|(id, code)| xml::error(id, code)).collect();
    let mut response = HttpResponse::new(Body::from(result(&errors)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

fn result(inside: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><DeleteResult \
         xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{inside}</DeleteResult>"
    )
}

/// Turns what was deleted into errors; an error of the server's own stays.
async fn amend(mut response: HttpResponse, failed: &[(&Id, &str)]) -> Result<HttpResponse, StdError> {
    let bytes = response.body_mut().store_all_limited(MAX_BODY).await?;
    let text = std::str::from_utf8(&bytes)?;
    let own = xml::entries(text, "Error")?;
    let deleted = xml::entries(text, "Deleted")?;
    let told = deleted.iter().filter(|it| failed.iter().any(|(id, _)| id.key == it.id.key));
    let fresh = failed.iter().filter(|(id, _)| own.iter().all(|it| it.id.key != id.key));
    let errors: String = fresh.map(|(id, code)| xml::error(id, code)).collect();
    let text = if text.contains("</") { xml::without(text, told, &errors) } else { result(&errors) };
    response.headers_mut().remove(CONTENT_LENGTH);
    *response.body_mut() = Body::from(text);
    Ok(response)
}
