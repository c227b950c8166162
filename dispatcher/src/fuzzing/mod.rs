//! What the fuzz targets in `fuzz/` call: a function for each kind of input that comes from outside, which panics where
//! something does not hold that has to hold for all inputs. Making up inputs is left to `fuzz`.
//!
//! The corpora that fuzzing left are gone through by a test here, so that what was found once stays found.

#[cfg(test)]
mod any_policy;
mod policy;
mod requests;
mod trace;

pub use policy::policy;
pub use requests::requests;
pub use trace::trace;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn what_fuzzing_found_stays_found() {
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
        type Target = fn(&[u8]);
        let targets: [(&str, Target); 3] =
            [("policy", policy), ("trace", trace), ("requests", requests)];
        for (name, target) in targets {
            let inputs = fs::read_dir(corpora.join(name)).unwrap();
            let paths: Vec<_> = inputs.map(|input| input.unwrap().path()).collect();
            assert!(!paths.is_empty(), "{name} has a corpus");
            for path in paths {
                println!("{}", path.display());
                target(&fs::read(path).unwrap());
            }
        }
    }
}
