//! Service flows that the base station makes: DSA-REQ, DSA-RSP, DSA-ACK.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    link::ieee80216e::{
        message::{Confirmation, DsaAnswer, DsaReq},
        timing::{DSX_RETRIES, T8},
    },
    proto::Instant,
};

/// How many transactions are open at once, and how many that are over are remembered.
const MAX_TRANSACTIONS: usize = 16;
/// Transactions that a base station begins have this bit set (section 6.3.2.3.10).
const BASE_STATION: u16 = 1 << 15;

#[derive(Debug, Default)]
pub(super) struct ServiceFlows {
    open: BTreeMap<u16, Open>,
    over: VecDeque<u16>,
    /// How many were made.
    pub(super) made: u32,
}

#[derive(Debug)]
struct Open {
    answer: DsaAnswer,
    due: Instant,
    retries_left: u32,
}

impl ServiceFlows {
    /// What is answered to a DSA-REQ; nothing to one that makes no sense.
    pub(super) fn handle_request(&mut self, now: Instant, request: &DsaReq) -> Option<DsaAnswer> {
        let transaction = request.transaction;
        let names_a_flow = request.flows.uplink.is_some() || request.flows.downlink.is_some();
        if transaction & BASE_STATION == 0 || !names_a_flow {
            return None;
        }
        let answer = DsaAnswer {
            transaction,
            confirmation: Confirmation::Ok,
            flows: request.flows.clone(),
        };
        if self.over.contains(&transaction) {
            // Its DSA-RSP was lost, not its flow.
            return Some(answer);
        }
        if self.open.len() >= MAX_TRANSACTIONS && !self.open.contains_key(&transaction) {
            return None;
        }
        let open = Open {
            answer: answer.clone(),
            due: now + T8,
            retries_left: DSX_RETRIES,
        };
        self.open.insert(transaction, open);
        Some(answer)
    }

    /// A DSA-ACK ends a transaction.
    pub(super) fn handle_acknowledgment(&mut self, acknowledgment: &DsaAnswer) {
        if self.open.remove(&acknowledgment.transaction).is_none() {
            return;
        }
        self.remember(acknowledgment.transaction);
        if acknowledgment.confirmation == Confirmation::Ok {
            self.made = self.made.saturating_add(1);
        }
    }

    /// The answers that are sent again.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<DsaAnswer> {
        let mut again = Vec::new();
        let mut ended = Vec::new();
        for (transaction, open) in &mut self.open {
            if now < open.due {
                continue;
            }
            match open.retries_left.checked_sub(1) {
                Some(left) => {
                    open.retries_left = left;
                    open.due = now + T8;
                    again.push(open.answer.clone());
                }
                None => ended.push(*transaction),
            }
        }
        for transaction in ended {
            self.open.remove(&transaction);
            // The base station has it, or has given it up; ours is not to know.
            self.remember(transaction);
        }
        again
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open.values().map(|open| open.due).min()
    }

    fn remember(&mut self, transaction: u16) {
        self.over.push_back(transaction);
        if self.over.len() > MAX_TRANSACTIONS {
            self.over.pop_front();
        }
    }
}
