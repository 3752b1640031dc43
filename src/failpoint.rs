//! Named points at which a test makes the process die; nothing at all without the feature `failpoints`.

/// Marks a crash window. Where the point's action is `return`, the process kills itself here by SIGKILL, which
/// nothing can catch or clean up after; the other actions of the crate `fail` (`pause`, `sleep`, `panic`, a callback) do as they
/// always do.
#[inline]
#[cfg_attr(not(feature = "failpoints"), allow(unused_variables))]
pub fn reach(name: &'static str) {
    fail::fail_point!(name, |_| die(name));
}

/// The same, for one message among others: the process dies only where the action's argument, as in
/// `return(id)`, is `about`.
#[inline]
#[cfg_attr(not(feature = "failpoints"), allow(unused_variables))]
pub fn reach_about(name: &'static str, about: &str) {
    fail::fail_point!(name, |wanted| if wanted.as_deref() == Some(about) {
        die(name)
    });
}

/// SIGKILL, as an out-of-memory killer or an operator sends it. Signals need unsafe code or one more crate;
/// `kill` is everywhere.
#[cfg(feature = "failpoints")]
fn die(point: &str) -> ! {
    eprintln!("failpoint {point}: SIGKILL");
    let killed = std::process::Command::new("kill").args(["-KILL", &std::process::id().to_string()]).status();
    // Only where there was no `kill`: not a SIGKILL, and the tests that look at the signal see it.
    eprintln!("failpoint {point}: not killed: {killed:?}");
    std::process::abort()
}

/// Has a test taken this protection away? So that a test can show that another one fails without it
/// (`tests/it/mutants.rs`). Without the feature `failpoints` the answer is no, at compile time.
#[inline]
#[cfg_attr(not(feature = "failpoints"), allow(unused_variables))]
pub fn removed(protection: &'static str) -> bool {
    fail::fail_point!(protection, |_| true);
    false
}

/// Reads the points' actions from the environment variable `FAILPOINTS`; they hold as long as the result.
#[cfg(feature = "failpoints")]
pub fn arm() -> impl Drop {
    fail::FailScenario::setup()
}

/// Nothing to arm.
#[cfg(not(feature = "failpoints"))]
pub fn arm() {}
