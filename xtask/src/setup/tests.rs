//! Machines with and without, and what is planned for each.

use super::{
    FOR_THE_LAB, FOR_THE_TESTS, TO_LOAD,
    facts::{
        Compiler, Facts, Linker, Offer, PROGRAMS, linked_llvm, read_compiler, read_simulation,
        suits,
    },
    plan::{Plan, plan},
};
use crate::toolchain::Toolchain;

fn debian_compiler() -> Compiler {
    Compiler {
        toolchain: Toolchain::Debian,
        version: (1, 96),
        llvm: Some(22),
    }
}

fn nightly(llvm: u32) -> Compiler {
    Compiler {
        toolchain: Toolchain::Nightly,
        version: (1, 101),
        llvm: Some(llvm),
    }
}

fn linker(llvm: Option<u32>) -> Linker {
    Linker {
        path: "/home/a/.cargo/bin/bpf-linker".into(),
        version: "0.13.0".to_owned(),
        llvm,
    }
}

/// A machine with root, apt that offers everything, rustup, and nothing installed.
fn bare() -> Facts {
    Facts {
        root: true,
        apt: true,
        rustup: true,
        compiler: Err("none".to_owned()),
        linker: Err("none".to_owned()),
        llvm_prefix: None,
        users: FOR_THE_TESTS,
        programs: vec![None; PROGRAMS.len()],
        missing_download_tools: vec!["zstd"],
        compiler_offer: Offer::Yes,
        llvm_offer: Offer::Yes,
    }
}

/// The same with everything installed.
fn full() -> Facts {
    Facts {
        compiler: Ok(debian_compiler()),
        linker: Ok(linker(Some(22))),
        llvm_prefix: Some("/usr/lib/llvm-22".into()),
        users: FOR_THE_TESTS,
        programs: vec![Some("/usr/bin/x".into()); PROGRAMS.len()],
        ..bare()
    }
}

fn commands(plan: &Plan) -> Vec<String> {
    plan.steps
        .iter()
        .map(|(_, step)| step.to_string())
        .collect()
}

#[test]
fn where_apt_offers_the_compiler_debians_way_is_taken() {
    let plan = plan(&bare(), None).unwrap();
    assert_eq!(
        commands(&plan),
        [
            "DEBIAN_FRONTEND=noninteractive apt-get install --yes \
             --no-install-recommends --no-remove -o DPkg::Lock::Timeout=300 rustc-web \
             cargo-web libstd-rust-web-dev-bpf llvm-22-dev iproute2 ethtool radvd tshark",
            "LLVM_PREFIX=/usr/lib/llvm-22 cargo install bpf-linker --version 0.13.0 --locked \
             --force --no-default-features --features llvm-22",
        ]
    );
    assert!(plan.reason.unwrap().contains("Debian"));
}

#[test]
fn a_router_that_is_only_loaded_gets_no_packages_of_the_lab() {
    for (users, packages) in [
        (TO_LOAD, vec![]),
        (FOR_THE_LAB, vec!["iproute2", "ethtool", "radvd"]),
        (
            FOR_THE_TESTS,
            vec!["iproute2", "ethtool", "radvd", "tshark"],
        ),
    ] {
        let facts = Facts { users, ..bare() };
        assert_eq!(facts.missing_packages(), packages);
        let full = Facts { users, ..full() };
        assert_eq!(full.missing(), Vec::<String>::new());
    }
}

#[test]
fn where_apt_has_no_compiler_rustups_nightly_is_taken_and_the_reason_said() {
    let facts = Facts {
        compiler_offer: Offer::No("Unable to locate package rustc-web".to_owned()),
        ..bare()
    };
    let plan = plan(&facts, None).unwrap();
    let commands = commands(&plan);
    assert!(commands[0].contains("apt-get install") && commands[0].contains("tshark"));
    assert!(commands[1].starts_with("rustup toolchain install nightly"));
    // Which LLVM the linker needs is known when the compiler is there.
    assert_eq!(commands.len(), 2);
    assert!(
        plan.reason
            .unwrap()
            .contains("Unable to locate package rustc-web")
    );
}

#[test]
fn without_apt_and_rustup_the_error_names_both() {
    let facts = Facts {
        apt: false,
        rustup: false,
        compiler_offer: Offer::No("apt-get is not on this machine".to_owned()),
        ..bare()
    };
    let error = plan(&facts, None).unwrap_err();
    assert!(
        error.contains("apt") && error.contains("rustup.rs"),
        "{error}"
    );
}

#[test]
fn without_apt_missing_programs_are_named_for_other_package_managers() {
    let facts = Facts {
        apt: false,
        users: FOR_THE_TESTS,
        programs: vec![None; PROGRAMS.len()],
        ..full()
    };
    let error = plan(&facts, None).unwrap_err();
    assert!(error.contains("iproute2 ethtool radvd"), "{error}");
}

#[test]
fn a_wish_overrules_the_choice_or_fails() {
    let plan_of_wish = plan(&bare(), Some(Toolchain::Nightly)).unwrap();
    assert!(commands(&plan_of_wish)[1].starts_with("rustup toolchain install nightly"));
    let facts = Facts {
        rustup: false,
        ..bare()
    };
    assert!(plan(&facts, Some(Toolchain::Nightly)).is_err());
    let facts = Facts {
        compiler_offer: Offer::No("no".to_owned()),
        ..bare()
    };
    assert!(plan(&facts, Some(Toolchain::Debian)).is_err());
}

#[test]
fn the_linker_is_built_against_the_llvm_of_the_compiler() {
    let facts = Facts {
        compiler: Ok(nightly(23)),
        linker: Err("none".to_owned()),
        llvm_prefix: Some("/opt/llvm".into()),
        ..full()
    };
    assert_eq!(
        commands(&plan(&facts, None).unwrap()),
        [
            "LLVM_PREFIX=/opt/llvm cargo install bpf-linker --version 0.13.0 --locked --force \
          --no-default-features --features llvm-23"
        ]
    );
    // An LLVM that the tested release does not know needs a newer release.
    let facts = Facts {
        compiler: Ok(nightly(24)),
        ..facts
    };
    let command = &commands(&plan(&facts, None).unwrap())[0];
    assert!(!command.contains("--version"), "{command}");
}

#[test]
fn without_an_llvm_to_build_against_the_linker_is_downloaded() {
    let facts = Facts {
        compiler: Ok(nightly(23)),
        linker: Err("none".to_owned()),
        llvm_prefix: None,
        llvm_offer: Offer::No("Unable to locate package llvm-23-dev".to_owned()),
        ..full()
    };
    let commands_of_plan = commands(&plan(&facts, None).unwrap());
    assert!(
        commands_of_plan[0].ends_with(" zstd"),
        "{commands_of_plan:?}"
    );
    assert!(
        commands_of_plan[1].contains("bpf-linker/releases"),
        "{commands_of_plan:?}"
    );
    let facts = Facts {
        llvm_offer: Offer::Yes,
        ..facts
    };
    let commands = commands(&plan(&facts, None).unwrap());
    assert!(commands[0].ends_with("llvm-23-dev"), "{commands:?}");
    assert!(commands[1].starts_with("LLVM_PREFIX=/usr/lib/llvm-23 "));
}

#[test]
fn nothing_is_planned_where_nothing_is_missing() {
    assert_eq!(plan(&full(), None).unwrap(), Plan::default());
    assert!(full().missing().is_empty());
    assert!(!full().wants_apt());
}

#[test]
fn what_is_missing_is_listed_by_name() {
    let facts = Facts {
        compiler: Err("none".to_owned()),
        ..full()
    };
    assert_eq!(facts.missing(), ["a compiler for the BPF target"]);
    assert_eq!(
        bare().missing(),
        [
            "a compiler for the BPF target",
            "bpf-linker",
            "ip",
            "ethtool",
            "radvd",
            "tshark"
        ]
    );
}

#[test]
fn a_linker_with_an_older_llvm_than_the_compiler_is_refused() {
    let compiler = Ok(debian_compiler());
    assert!(suits(linker(Some(22)), &compiler).is_ok());
    assert!(suits(linker(Some(23)), &compiler).is_ok());
    assert!(suits(linker(None), &compiler).is_ok());
    let reason = suits(linker(Some(21)), &compiler).unwrap_err();
    assert!(
        reason.contains("LLVM 21") && reason.contains("LLVM 22"),
        "{reason}"
    );
}

#[test]
fn versions_are_read_from_what_the_tools_print() {
    let said = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nbinary: rustc\n\
                host: x86_64-unknown-linux-gnu\nrelease: 1.97.0-nightly\nLLVM version: 22.1.4\n";
    assert_eq!(
        read_compiler(Toolchain::Nightly, said),
        Some(Compiler {
            toolchain: Toolchain::Nightly,
            version: (1, 97),
            llvm: Some(22)
        })
    );
    assert_eq!(read_compiler(Toolchain::Nightly, "rustc"), None);
    assert_eq!(
        linked_llvm("\tlibLLVM.so.22.1 => /usr/lib/x (0x1)\n"),
        Some(22)
    );
    assert_eq!(
        linked_llvm("\tlibLLVM-19.so.1 => /usr/lib/x (0x1)\n"),
        Some(19)
    );
    assert_eq!(linked_llvm("\tlibc.so.6 => /lib/libc.so.6 (0x1)\n"), None);
}

#[test]
fn apts_simulation_decides_what_it_offers() {
    let new = "Inst libllvm22 (1:22.1.8 Debian-Security [amd64])\n\
               Inst rustc-web (1.96.0+dfsg1-1 Debian-Security:12/oldstable [amd64])\n";
    assert_eq!(read_simulation(true, new, "", true), Offer::Yes);
    let upgrade = "Inst rustc-web [1.80.0+d] (1.85.0+dfsg3-1 Debian:12/oldstable [amd64])\n";
    assert!(matches!(
        read_simulation(true, upgrade, "", true),
        Offer::No(why) if why.contains("1.85")
    ));
    let unknown = "W: x\nE: Unable to locate package rustc-web\nE: and more\n";
    assert_eq!(
        read_simulation(false, "", unknown, true),
        Offer::No("Unable to locate package rustc-web".to_owned())
    );
}
