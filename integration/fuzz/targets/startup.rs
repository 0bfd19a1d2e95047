//! A connection's first bytes, before anyone has proved to be anyone.
#![no_main]
use libfuzzer_sys::fuzz_target;
use weir::wire::{frame, startup};

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some(len)) = frame::scan_startup(bytes, startup::MAX_LEN) else { return };
    let Some(packet) = bytes.get(..len) else { return };
    if let Ok(startup::Greeting::Startup(startup)) = startup::read(packet) {
        assert_eq!(startup.major, 3);
        assert!(startup.agreed_minor() <= startup.minor);
        for (name, value) in &startup.parameters {
            assert!(!name.is_empty() && !name.contains('\0') && !value.contains('\0'));
            assert!(startup.get(name).is_some());
        }
    }
});
