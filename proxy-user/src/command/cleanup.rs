//! `foreword cleanup`.

use anyhow::Result;

use super::attach::require_privileges;
use crate::operate::logs;
use crate::steer::sweep;

/// Removes what dead instances left, and says what that was.
pub fn run() -> Result<()> {
    logs::start();
    require_privileges()?;
    let swept = sweep::everything()?;
    if swept.is_empty() {
        println!("nothing to clean up");
    } else {
        print!("{swept}");
    }
    Ok(())
}
