//! A handler that is a plain function.

use std::future::Future;
use std::marker::PhantomData;

use drumline_protocol::{ErrorCode, Fault};
use serde::de::DeserializeOwned;

use super::outcome::{IntoOutcome, Outcome};
use super::{Handler, HandlerFuture};
use crate::context::Context;

/// A handler that is a function of typed input.
pub(crate) struct Typed<F, I> {
    function: F,
    input: PhantomData<fn(I)>,
}

impl<F, I> Typed<F, I> {
    pub(crate) const fn new(function: F) -> Self {
        Self {
            function,
            input: PhantomData,
        }
    }
}

impl<F, I, R> Handler for Typed<F, I>
where
    F: Fn(I, Context) -> R + Send + Sync + 'static,
    I: DeserializeOwned + 'static,
    R: Future<Output: IntoOutcome> + Send + 'static,
{
    fn run(&self, context: Context) -> HandlerFuture {
        let operation_type = context.operation().header.rules.operation_type;
        match serde_json::from_str(context.data().unwrap_or("null")) {
            Ok(input) => {
                let run = (self.function)(input, context);
                Box::pin(async move { run.await.into_outcome(operation_type) })
            }
            // Another run would be given the same payload.
            Err(error) => Box::pin(std::future::ready(Outcome::Fail(Fault::new(
                ErrorCode::INVALID_ARGUMENT,
                "The operation's data is not what its handler expects.",
                &format!("data: {error}"),
            )))),
        }
    }
}
