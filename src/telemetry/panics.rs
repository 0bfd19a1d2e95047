//! A panic in the work for one client: caught, logged, counted, and the end of that client's work only.
use super::Metrics;
use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// A panic has ended the work, and what it held was dropped. Log and metric know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Panicked;

/// Runs that work to its end, or to its panic. The caller has pinned it: an `async fn` holds a future that
/// it is given twice.
///
/// What the work borrows is as the panic has left it: whoever goes on with it must trust none of it.
pub async fn contained<T>(
    metrics: &Metrics,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Panicked> {
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => {
            metrics.panics.inc();
            // Where it was, the panic's own line on standard error has said.
            tracing::error!(message = text(&*panic), "a client's work ended by a panic");
            Poll::Ready(Err(Panicked))
        }
    })
    .await
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let fixed = panic.downcast_ref::<&str>().copied();
    fixed.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::pin::pin;

    struct Held<'a>(&'a Cell<bool>);

    impl Drop for Held<'_> {
        fn drop(&mut self) {
            self.0.set(std::thread::panicking());
        }
    }

    #[tokio::test]
    async fn a_panic_ends_the_work_gives_back_what_it_held_and_is_counted() {
        let metrics = Metrics::new();
        let dropped = Cell::new(false);
        let work = async {
            let _held = Held(&dropped);
            tokio::task::yield_now().await;
            panic!("in the middle");
        };
        let ended: Result<(), _> = contained(&metrics, pin!(work)).await;
        assert_eq!(ended, Err(Panicked));
        assert!(dropped.get());
        assert_eq!(metrics.panics.get(), 1);
    }

    #[tokio::test]
    async fn work_without_a_panic_gives_what_it_gives() {
        let metrics = Metrics::new();
        let work = async {
            tokio::task::yield_now().await;
            42
        };
        assert_eq!(contained(&metrics, pin!(work)).await, Ok(42));
        assert_eq!(metrics.panics.get(), 0);
    }

    #[test]
    fn a_panic_says_what_it_was_told() {
        let said = |panic: fn()| {
            let payload = catch_unwind(panic).unwrap_err();
            text(&*payload).to_owned()
        };
        assert_eq!(said(|| panic!("plain")), "plain");
        assert_eq!(said(|| panic!("formatted {}", 1)), "formatted 1");
        assert_eq!(said(|| std::panic::panic_any(5)), "");
    }
}
