//! What a stack of layers is called once it is unpacked.
//! Depends on: sha2, digest::tree.

use sha2::{Digest, Sha256};

use super::tree::hex;

/// The chain id of each layer (OCI image specification, "Layer ChainID"): the digest of everything up to it, so that a layer is
/// unpacked where a snapshot has its chain id, whatever became of the blob. `layers` are digests of the unpacked layers
/// (`diff_ids`), the lowest first.
#[must_use]
pub fn chain_ids(layers: &[String]) -> Vec<String> {
    let mut chain: Vec<String> = Vec::new();
    for layer in layers {
        let next = match chain.last() {
            None => layer.clone(),
            Some(below) => {
                format!("sha256:{}", hex(&Sha256::digest(format!("{below} {layer}"))))
            }
        };
        chain.push(next);
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_those_of_containerd() {
        let layers = [
            "sha256:75610c73fc19541fc0eb25d49442b401a4c26f4721ec3eca5edfbc9e65cf2301",
            "sha256:5a6ec50eaba6386d59d9a218985a55218fd3cddaf72c4df272eca3e23ae3b5ad",
        ];
        let layers = layers.map(str::to_owned);
        assert_eq!(chain_ids(&[]), [""; 0]);
        assert_eq!(chain_ids(&layers[..1]), layers[..1]);
        // `printf '%s %s' ONE TWO | sha256sum`
        let two = "sha256:d33fedea9bca01ca7aa701ccfafc00f6de4b771b816bdafd88879d1f2c3c12e7";
        assert_eq!(chain_ids(&layers), [layers[0].as_str(), two]);
    }
}
