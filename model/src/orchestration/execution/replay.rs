//! Runs the code of an orchestration again through its recorded history.
//!
//! Decisions must come out again as they were recorded. After the first that does not, the code is
//! gone, and the rest of the history still says where the instance is: the next step fails it, and
//! releases what the history says is locked.

use super::OrchestrationCursor;
use crate::entity::RequestKind;
use crate::error::ApplicationError;
use crate::history::{EventKind, HistoryEvent, RaisedEvent};
use crate::orchestration::RuntimeStatus;
use crate::orchestration::decision::describe;
use crate::orchestration::section::Section;

impl OrchestrationCursor {
    /// Runs the code again from its start through all of `history`.
    pub(crate) fn replay(&mut self, history: &[HistoryEvent]) {
        self.shared.borrow_mut().replaying = true;
        for event in history {
            self.apply_recorded(event);
        }
        self.shared.borrow_mut().replaying = false;
        self.refused.clear();
        self.expect_code_where_history_ends();
        if self.mismatch.is_some() {
            // What is locked is what the history says, not what the code now would have locked.
            let mut shared = self.shared.borrow_mut();
            shared.section = self.recorded_section.take();
            if let Some(last) = history.iter().rev().find_map(|event| event.kind.decision()) {
                shared.next_event_id = last + 1;
            }
        }
    }

    /// Applies an event of the past: decisions must match what the code decided. After a mismatch
    /// the code stands still, and the rest of the history still says where the instance is.
    fn apply_recorded(&mut self, event: &HistoryEvent) {
        self.events += 1;
        self.note_section(&event.kind);
        if event.kind.decision().is_none() {
            self.ended |= event.kind.is_end();
            self.apply(event);
        } else if self.mismatch.is_none() && !self.ended {
            self.match_decision(&event.kind);
        }
    }

    /// Follows the critical sections of a recorded history.
    fn note_section(&mut self, event: &EventKind) {
        let EventKind::EventSent { event: RaisedEvent::Request(request), .. } = event else {
            return;
        };
        match &request.kind {
            RequestKind::Lock(lock) => self.recorded_section = Some(Section::of(lock)),
            RequestKind::Release(_) => self.recorded_section = None,
            RequestKind::Operation(_) | RequestKind::Continue => {}
        }
    }

    fn match_decision(&mut self, event: &EventKind) {
        if let EventKind::EventSent { target, event: RaisedEvent::Request(request), .. } = event {
            let stamp = request.stamp.as_ref();
            stamp.into_iter().for_each(|stamp| self.sorter.note_sent(target, stamp.timestamp));
        }
        let decided = self.shared.borrow_mut().unrecorded.pop_front();
        let problem = match decided {
            Some((id, decision)) => {
                if Some(id) == event.decision() && decision.is_recorded_by(event) {
                    return;
                }
                format!("the code decided {id}: {decision}")
            }
            None => match &self.status {
                RuntimeStatus::Running | RuntimeStatus::Suspended => {
                    "the code decided nothing there".to_string()
                }
                ended => format!("the code had {} before", ending(ended)),
            },
        };
        let recorded = describe(event);
        self.give_up(format!("the history has {recorded}, but on replay {problem}"));
    }

    /// What the code did on replay must be in the history to the end.
    fn expect_code_where_history_ends(&mut self) {
        if self.mismatch.is_some() || self.ended {
            return;
        }
        let continues = self.shared.borrow().continue_with.is_some();
        let extra = self.shared.borrow().unrecorded.front().cloned();
        if let Some((id, decision)) = extra {
            let text =
                format!("the code decided {id}: {decision}, which the history does not have");
            self.give_up(format!("on replay {text}"));
        } else if self.status.is_final() {
            let ending = ending(&self.status);
            self.give_up(format!("on replay the code {ending}, which the history does not have"));
        } else if continues && self.status == RuntimeStatus::Running {
            let text = "on replay the code continued as new, which the history does not have";
            self.give_up(text.to_string());
        }
    }

    /// The code went another way than the history: nothing it does counts from here on, and the
    /// instance is where the history says.
    fn give_up(&mut self, message: String) {
        self.mismatch = Some(ApplicationError::non_determinism(message));
        self.drop_code();
        if self.status.is_final() {
            self.status = RuntimeStatus::Running;
        }
        self.shared.borrow_mut().unrecorded.clear();
    }
}

/// How the code ended, in words, for error messages.
fn ending(status: &RuntimeStatus) -> String {
    match status {
        RuntimeStatus::Failed(error) => format!("failed ({error})"),
        other => other.name().to_string(),
    }
}
