//! A trials file in, evidence out. Checks that only files of this version are read, that evidence reads the same after it
//! was written again, also before an incomplete last line, and that a resumed run drops exactly the last round.

#![no_main]

use libfuzzer_sys::fuzz_target;
use velo_advisor::Evidence;
use velo_advisor::evidence::{
    VERSION, write_complete, write_header, write_predicted, write_trial, write_validity_range,
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(evidence) = Evidence::read(bytes) else { return };
    assert_eq!(evidence.header.version, VERSION);
    let mut file = written(&evidence).expect("evidence can be written");
    assert_eq!(Evidence::read(file.as_slice()).expect("a trials file"), evidence);
    file.extend_from_slice(b"{\"trial\":{\"cand");
    assert_eq!(Evidence::read(file.as_slice()).expect("a trials file"), evidence);
    let last = evidence.trials.iter().map(|trial| trial.round).max();
    let mut resumed = evidence.clone();
    resumed.drop_last_round();
    let earlier = evidence.trials.iter().filter(|trial| Some(trial.round) < last);
    assert!(resumed.trials.iter().eq(earlier));
    resumed.keep_to_the_cap();
    let header = &resumed.header;
    let mut left = resumed.predicted.iter().chain(&resumed.trials).map(|trial| &trial.candidate);
    assert!(left.all(|candidate| header.current.as_ref() == Some(candidate) || header.allows(candidate)));
});

fn written(evidence: &Evidence) -> std::io::Result<Vec<u8>> {
    let mut file = Vec::new();
    write_header(&mut file, &evidence.header)?;
    evidence.predicted.iter().try_for_each(|trial| write_predicted(&mut file, trial))?;
    evidence.trials.iter().try_for_each(|trial| write_trial(&mut file, trial))?;
    if let Some(range) = &evidence.holds {
        write_validity_range(&mut file, range)?;
    }
    if evidence.is_complete {
        write_complete(&mut file)?;
    }
    Ok(file)
}
