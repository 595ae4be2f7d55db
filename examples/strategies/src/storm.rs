//! The orders, with duplicates among them.

use idem_rocketmq::prelude::*;

/// Orders; buyers have them in turn.
const ORDERS: usize = 200;
const BUYERS: usize = 20;

/// An order was paid.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Paid {
    pub(crate) order: String,
    pub(crate) buyer: i64,
    /// Which of the buyer's orders it is, counted from 1.
    pub(crate) turn: i64,
    pub(crate) cents: i64,
    pub(crate) trouble: Option<Trouble>,
}

/// How the first run of an order fails.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Trouble {
    /// Before anything is done.
    Before,
    /// When the work is done, and nobody has noted it yet.
    After,
}

impl Paid {
    fn of(number: usize) -> Self {
        let whole = |number| i64::try_from(number).unwrap_or_default();
        let trouble = match number {
            number if number % 20 == 3 => Some(Trouble::Before),
            number if number % 50 == 7 => Some(Trouble::After),
            _ => None,
        };
        Self {
            order: order(number),
            buyer: whole(number % BUYERS),
            turn: whole(number / BUYERS + 1),
            cents: whole(number * 7 % 500 + 100),
            trouble,
        }
    }

    /// The error of a first run that comes to nothing.
    pub(crate) fn fails_before(&self, attempt: Attempt) -> Result<(), &'static str> {
        self.fails(Trouble::Before, attempt, "the bank does not answer")
    }

    /// The error of a first run that breaks off behind its work.
    pub(crate) fn fails_after(&self, attempt: Attempt) -> Result<(), &'static str> {
        self.fails(Trouble::After, attempt, "the process was about to die")
    }

    fn fails(&self, trouble: Trouble, attempt: Attempt, error: &'static str) -> Result<(), &'static str> {
        if self.trouble == Some(trouble) && attempt.number() == 1 { Err(error) } else { Ok(()) }
    }

    /// Under the order's number as key, and in the order of its buyer.
    pub(crate) fn message(&self, topic: &str) -> OutgoingMessage {
        OutgoingMessage::json(topic, self.order.as_str(), self).order_by(self.buyer)
    }
}

/// The messages that every strategy gets.
pub(crate) struct Storm {
    pub(crate) orders: usize,
    /// In the order in which they are sent.
    pub(crate) paid: Vec<Paid>,
}

impl Storm {
    /// Every third order is sent twice, and every tenth two times more at the end, long after the first.
    pub(crate) fn make() -> Self {
        let (mut paid, mut late) = (Vec::new(), Vec::new());
        for number in 0..ORDERS {
            let times = if number % 3 == 0 { 2 } else { 1 };
            paid.extend(vec![Paid::of(number); times]);
            if number % 10 == 0 {
                late.extend(vec![Paid::of(number); 2]);
            }
        }
        paid.extend(late);
        Self { orders: ORDERS, paid }
    }

    pub(crate) fn messages(&self, topic: &str) -> Vec<OutgoingMessage> {
        self.paid.iter().map(|paid| paid.message(topic)).collect()
    }

    /// Messages.
    pub(crate) fn count(&self) -> usize {
        self.paid.len()
    }

    /// Messages of orders with this trouble.
    pub(crate) fn troubled(&self, trouble: Trouble) -> usize {
        self.paid.iter().filter(|paid| paid.trouble == Some(trouble)).count()
    }

    /// Orders with this trouble.
    pub(crate) fn troubled_orders(&self, trouble: Trouble) -> usize {
        (0..self.orders).filter(|number| Paid::of(*number).trouble == Some(trouble)).count()
    }
}

pub(crate) fn orders() -> impl Iterator<Item = String> {
    (0..ORDERS).map(order)
}

pub(crate) fn buyers() -> std::ops::Range<usize> {
    0..BUYERS
}

fn order(number: usize) -> String {
    format!("order-{number}")
}
