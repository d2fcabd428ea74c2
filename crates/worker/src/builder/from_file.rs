//! Registers the handlers of a file with a builder. The code is not beside the file,
//! because handlers know nothing of builders.

use std::sync::Arc;

use super::Builder;
use crate::handlers::Handler;
use crate::handlers::command::CommandHandler;
use crate::handlers::handlers_file::{Action, Error, FileHandler, HandlersFile};
use crate::handlers::http::HttpHandler;
use crate::handlers::supervise::Supervisor;

impl HandlersFile {
    /// Registers the handlers. Commands run under `supervisor`.
    ///
    /// # Errors
    /// When the web client cannot be set up.
    pub fn register(self, mut builder: Builder, supervisor: &Supervisor) -> Result<Builder, Error> {
        for FileHandler {
            message,
            limits,
            action,
        } in self.handlers
        {
            let handler: Arc<dyn Handler> = match action {
                Action::Command(command) => {
                    Arc::new(CommandHandler::new(command, supervisor.clone()))
                }
                Action::Http(endpoint) => Arc::new(HttpHandler::new(endpoint)?),
            };
            builder = builder.handler_dyn(message, limits, handler);
        }
        Ok(builder)
    }
}
