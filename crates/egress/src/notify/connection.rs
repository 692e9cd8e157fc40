//! One HTTP/1.1 connection, turned by whoever waits for its answer.
//!
//! hyper would have a task for each connection; here the attempt itself polls it. So an answer wakes one task and
//! not two, and an attempt that is dropped takes its connection with it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};

use crate::client::MAX_HEAD_BYTES;
use crate::transport::{Transport, Written};

/// A connection that carries one request at a time.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Driver,
    written: Written,
}

/// hyper's side of the connection, until it has ended. In a box, because it is large and goes through many hands.
struct Driver(Option<Box<http1::Connection<Transport, Full<Bytes>>>>);

impl Driver {
    fn turn(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.0
            && Pin::new(connection.as_mut()).poll(cx).is_ready()
        {
            // How it ended, whoever waits for it is told by hyper.
            self.0 = None;
        }
    }

    /// Waits for `work` and turns the connection meanwhile.
    async fn beside<F: Future>(&mut self, work: F) -> F::Output {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => {
                self.turn(cx);
                work.as_mut().poll(cx)
            }
        })
        .await
    }
}

/// Why there is no answer, and the request if not a byte of it was taken.
pub(super) struct Unanswered {
    pub(super) cause: hyper::Error,
    pub(super) unsent: Option<Request<Full<Bytes>>>,
}

impl Connection {
    pub(super) async fn over(transport: Transport) -> Result<Self, hyper::Error> {
        let written = transport.written();
        // Headers in an answer are bounded by hyper's own default, 100: for any other number it goes to the heap
        // for each answer.
        let (sender, driver) =
            http1::Builder::new().max_buf_size(MAX_HEAD_BYTES).handshake(transport).await?;
        let mut connection = Self { sender, driver: Driver(Some(Box::new(driver))), written };
        connection.driver.beside(connection.sender.ready()).await?;
        Ok(connection)
    }

    pub(super) fn written(&self) -> Written {
        self.written.clone()
    }

    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let answer = self.driver.beside(self.sender.try_send_request(request)).await;
        answer.map_err(|mut error| {
            let unsent = error.take_message();
            Unanswered { cause: error.into_error(), unsent }
        })
    }

    /// Waits for something of the answer.
    pub(super) async fn beside<F: Future>(&mut self, work: F) -> F::Output {
        self.driver.beside(work).await
    }

    /// Whether it can take another request: the last answer was read whole, and the other side has not hung up.
    pub(super) async fn is_free(&mut self) -> bool {
        poll_fn(|cx| {
            self.driver.turn(cx);
            Poll::Ready(self.driver.0.is_some() && self.sender.is_ready())
        })
        .await
    }
}
