//! The plans that workers keep, for the console. Entered when one is made and kept, so a hit knows
//! nothing of this; a plan that is forgotten leaves by itself.
use crate::plan::{Plan, SharedPlan};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// One database's, of all workers.
#[derive(Debug, Default)]
pub struct Plans(Mutex<Entered>);

#[derive(Debug, Default)]
struct Entered {
    plans: Vec<Weak<Plan>>,
    /// With so many, those that are gone are taken out.
    full: usize,
}

impl Plans {
    /// A plan that has just been made. One that its maker does not keep is not entered.
    pub fn enter(&self, plan: &SharedPlan) {
        /// Fewer are not worth looking through.
        const FEW: usize = 256;
        let is_kept = Arc::strong_count(plan) > 1;
        if !is_kept {
            return;
        }
        let mut entered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entered.plans.len() >= entered.full.max(FEW) {
            entered.plans.retain(|plan| plan.strong_count() > 0);
            entered.full = entered.plans.len() * 2;
        }
        entered.plans.push(Arc::downgrade(plan));
    }

    /// Those that are kept now.
    pub fn all(&self) -> Vec<SharedPlan> {
        let entered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entered.plans.iter().filter_map(Weak::upgrade).collect()
    }
}
