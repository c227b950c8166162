//! Whether what a model says may be acted on here, or has to win again first.

use super::format::Model;
use crate::origin::Machine;

/// What a model is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It won on this machine, under this kernel.
    Proven,
    /// It is scored and not acted on, until it wins here.
    ShadowOnly(Why),
}

/// Why a model is not acted on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// It lost as it was made.
    #[error("it lost to what it was compared with, and was kept all the same")]
    Lost,
    /// It was made under another kernel.
    #[error("it was made under the kernel {made}, and this is {here}")]
    Kernel {
        /// Which.
        made: String,
        /// The one that runs.
        here: String,
    },
    /// It was made on another machine.
    #[error("it was made on another machine: {made:?}, and this is {here:?}")]
    Machine {
        /// Which.
        made: Machine,
        /// This one.
        here: Machine,
    },
}

/// What a model is good for under this kernel, on this machine.
#[must_use]
pub fn standing(model: &Model, kernel: &str, machine: &Machine) -> Standing {
    let origin = &model.origin;
    if model.shadow_only {
        Standing::ShadowOnly(Why::Lost)
    } else if origin.kernel != kernel {
        Standing::ShadowOnly(Why::Kernel {
            made: origin.kernel.clone(),
            here: kernel.to_owned(),
        })
    } else if origin.machine != *machine {
        Standing::ShadowOnly(Why::Machine {
            made: origin.machine.clone(),
            here: machine.clone(),
        })
    } else {
        Standing::Proven
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_won_elsewhere_or_lost_has_to_win_here_first() {
        let mut model = Model::default();
        model.origin.kernel = "6.18".to_owned();
        let here = Machine::default();
        assert_eq!(standing(&model, "6.18", &here), Standing::Proven);
        assert!(matches!(
            standing(&model, "7.2", &here),
            Standing::ShadowOnly(Why::Kernel { .. })
        ));
        let other = Machine {
            llcs: 2,
            ..here.clone()
        };
        assert!(matches!(
            standing(&model, "6.18", &other),
            Standing::ShadowOnly(Why::Machine { .. })
        ));
        model.shadow_only = true;
        let lost = Standing::ShadowOnly(Why::Lost);
        assert_eq!(standing(&model, "6.18", &here), lost);
    }
}
