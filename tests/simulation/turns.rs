//! Lets several cores run side by side in one thread: each gives its turn away after every call
//! that it makes, and the scenario decides who is next.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Gives the turn away once.
pub(crate) fn turn() -> Turn {
    Turn { is_over: false }
}

pub(crate) struct Turn {
    is_over: bool,
}

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.is_over, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Goes on until the next turn; the result when there is none left.
pub(crate) fn advance<T>(future: &mut Pin<Box<dyn Future<Output = T> + '_>>) -> Option<T> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Goes on to the end.
pub(crate) fn finish<T>(future: impl Future<Output = T>) -> T {
    let mut future: Pin<Box<dyn Future<Output = T> + '_>> = Box::pin(future);
    loop {
        if let Some(value) = advance(&mut future) {
            return value;
        }
    }
}
