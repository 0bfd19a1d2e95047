//! Session pooling of a plain database: one server is the client's alone, bytes go both ways
//! unread, so everything works as on PostgreSQL itself.
use super::Session;
use crate::exec::line;
use crate::plan::{Access, Route};
use std::task::Poll;

impl Session {
    pub(super) async fn relay_all(&mut self) {
        if let Err(stop) = self.site(Route::Any, self.own_need(Access::Write)).await {
            if let super::Stop::Say(error) = stop {
                self.say_goodbye(&error.fatal()).await;
            }
            return;
        }
        self.carry_both_ways().await;
        // The server's last words; the client may be gone already.
        drop(self.client.flush().await);
        self.count_moved();
        self.lose_participants("its client left").await;
    }

    /// Until either side closes.
    async fn carry_both_ways(&mut self) {
        let Some(participant) = self.txn.participants.first_mut() else { return };
        let lease = &mut participant.lease;
        let client = &mut self.client;
        std::future::poll_fn(|cx| {
            loop {
                // Another server is the primary now. There is no telling where in a message the client
                // is, so the line's end has to say it.
                if lease.work.is_cut_off() {
                    return Poll::Ready(());
                }
                let connection = &mut **lease;
                let mut moved = false;
                connection.output.unsplit(client.input.split());
                if line::poll_flush(&mut connection.stream, &mut connection.output, cx)
                    .is_ready_err()
                {
                    return Poll::Ready(());
                }
                client.output.unsplit(connection.input.split());
                if client.poll_flush(cx).is_ready_err() {
                    return Poll::Ready(());
                }
                if connection.output.is_empty() {
                    match client.poll_fill(cx) {
                        Poll::Ready(Ok(count)) if count > 0 => moved = true,
                        Poll::Ready(_) => return Poll::Ready(()),
                        Poll::Pending => {}
                    }
                }
                if client.output.is_empty() {
                    match line::poll_fill(&mut connection.stream, &mut connection.input, cx) {
                        Poll::Ready(Ok(count)) if count > 0 => moved = true,
                        Poll::Ready(_) => return Poll::Ready(()),
                        Poll::Pending => {}
                    }
                }
                if !moved {
                    return Poll::Pending;
                }
            }
        })
        .await;
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
