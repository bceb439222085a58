//! A connection whose calls show a token.

use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, Either, ErrInto};
use futures_util::{FutureExt, TryFutureExt};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::header::AUTHORIZATION;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{Service, StdError};
use tonic::transport::Channel;
use tonic::transport::channel::ResponseFuture;

use crate::token::BearerToken;

/// A connection whose calls show a token: that of a [`Client`](crate::Client), and for services that it does not know.
#[derive(Clone, Debug)]
pub struct TokenChannel {
    channel: Channel,
    token: BearerToken,
}

impl TokenChannel {
    /// This connection, with this token.
    pub const fn new(channel: Channel, token: BearerToken) -> Self {
        Self { channel, token }
    }
}

impl Service<Request<Body>> for TokenChannel {
    type Response = Response<Body>;
    type Error = StdError;
    /// Nothing is allocated for a token that is at hand.
    type Future = Either<ErrInto<ResponseFuture, StdError>, BoxFuture<'static, Result<Response<Body>, StdError>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if !self.token.must_ask() {
            return Either::Left(call(&mut self.channel, &self.token, request));
        }
        // That which is ready makes the call; its clone may not be.
        let next = self.channel.clone();
        let mut channel = std::mem::replace(&mut self.channel, next);
        let token = self.token.clone();
        let asked = async move {
            if let Err(error) = token.ready().await {
                let mut status = Status::unauthenticated(error.to_string());
                status.set_source(std::sync::Arc::new(error));
                return Err(status.into());
            }
            call(&mut channel, &token, request).await
        };
        Either::Right(asked.boxed())
    }
}

fn call(channel: &mut Channel, token: &BearerToken, mut request: Request<Body>) -> ErrInto<ResponseFuture, StdError> {
    if let Some(value) = token.shown() {
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    channel.call(request).err_into()
}
