use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A queue in memory. As with a broker, a delivery that is dropped unsettled goes back.
#[derive(Debug)]
pub struct Queue {
    deliveries: UnboundedReceiver<Delivery>,
    log: Log,
}

/// A message that was taken out of its queue, or waits in it.
#[derive(Debug)]
pub struct Delivery {
    pub message: String,
    /// `None` once the message is settled.
    queue: Option<UnboundedSender<Delivery>>,
    log: Log,
}

/// What was done with each delivery.
type Log = Arc<Mutex<Vec<String>>>;

impl Queue {
    pub fn new<'a>(messages: impl IntoIterator<Item = &'a str>) -> Self {
        let (queue, deliveries) = unbounded_channel();
        let log = Log::default();
        for message in messages {
            give_back(&queue, message.to_owned(), log.clone());
        }
        Self { deliveries, log }
    }

    /// Takes the next message out. Returns `None` once all are settled.
    pub async fn next(&mut self) -> Option<Delivery> {
        self.deliveries.recv().await
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Delivery {
    pub fn acknowledge(mut self) {
        self.queue = None;
        self.note("acknowledged");
    }

    pub fn dead_letter(mut self) {
        self.queue = None;
        self.note("dead letter");
    }

    /// Gives the message back after a wait.
    pub fn requeue(self, wait: Duration) {
        self.note(&format!("again after {wait:?}"));
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            drop(self);
        });
    }

    fn note(&self, what: &str) {
        println!("{:?}: {what}", self.message);
        self.log.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{}: {what}", self.message));
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            give_back(&queue, std::mem::take(&mut self.message), self.log.clone());
        }
    }
}

fn give_back(queue: &UnboundedSender<Delivery>, message: String, log: Log) {
    if let Err(mut closed) = queue.send(Delivery { message, queue: Some(queue.clone()), log }) {
        // The queue itself is gone.
        closed.0.queue = None;
    }
}
