//! Session pooling of a plain database: one server is the client's alone, bytes go both ways
//! unread, so everything works as on PostgreSQL itself.
use super::Session;
use crate::error::Error;
use crate::exec::line;
use crate::plan::{Access, Route};
use std::task::Poll;

impl Session {
    pub(super) async fn relay_all(&mut self) {
        if let Err(stop) = self.site(Route::Any, Access::Write).await {
            if let super::Stop::Say(error) = stop {
                self.say_goodbye(&error.fatal()).await;
            }
            return;
        }
        if let Some(error) = self.carry_both_ways().await {
            self.say_goodbye(&error.fatal()).await;
        }
        self.lose_participants("its client left").await;
    }

    /// Until either side closes; an error if it was the server.
    async fn carry_both_ways(&mut self) -> Option<Error> {
        let participant = self.txn.participants.first_mut()?;
        let connection = &mut *participant.lease;
        let client = &mut self.client;
        std::future::poll_fn(|cx| {
            loop {
                let mut moved = false;
                connection.output.unsplit(client.input.split());
                if line::poll_flush(&mut connection.stream, &mut connection.output, cx)
                    .is_ready_err()
                {
                    return Poll::Ready(Some(lost()));
                }
                client.output.unsplit(connection.input.split());
                if client.poll_flush(cx).is_ready_err() {
                    return Poll::Ready(None);
                }
                if connection.output.is_empty() {
                    match client.poll_fill(cx) {
                        Poll::Ready(Ok(count)) if count > 0 => moved = true,
                        Poll::Ready(_) => return Poll::Ready(None),
                        Poll::Pending => {}
                    }
                }
                if client.output.is_empty() {
                    match line::poll_fill(&mut connection.stream, &mut connection.input, cx) {
                        Poll::Ready(Ok(count)) if count > 0 => moved = true,
                        Poll::Ready(_) => return Poll::Ready(Some(lost())),
                        Poll::Pending => {}
                    }
                }
                if !moved {
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}

trait ReadyErr {
    fn is_ready_err(&self) -> bool;
}

impl<T, E> ReadyErr for Poll<Result<T, E>> {
    fn is_ready_err(&self) -> bool {
        matches!(self, Poll::Ready(Err(_)))
    }
}

fn lost() -> Error {
    Error::shard(crate::error::SqlState::CONNECTION_FAILURE, "the server closed the connection")
}
