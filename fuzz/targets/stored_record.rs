//! A record as it lies in the store: whatever is taken for one is written back as the same one.
#![no_main]

use bursar::store::codec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [kind, bytes @ ..] = data else { return };
    match kind % 4 {
        0 => {
            let name = "tenants/acme/connections/c".parse().unwrap();
            let Ok(record) = codec::decode_connection(&name, bytes) else { return };
            let again = codec::decode_connection(&name, &codec::encode_connection(&record));
            assert_eq!(again.as_ref().ok(), Some(&record));
            assert!(record.name == name, "a name comes from where it lies");
        }
        1 => {
            let name = "tenants/acme/clients/c".parse().unwrap();
            let Ok(record) = codec::decode_client(&name, bytes) else { return };
            assert_eq!(codec::decode_client(&name, &codec::encode_client(&record)).ok(), Some(record));
        }
        2 => {
            let name = "tenants/acme".parse().unwrap();
            let Ok(record) = codec::decode_tenant(&name, bytes) else { return };
            assert_eq!(codec::decode_tenant(&name, &codec::encode_tenant(&record)).ok(), Some(record));
        }
        _ => {
            let Ok(envelope) = codec::unwrap(bytes) else { return };
            assert!(envelope.format > 0);
            let ours = codec::wrap(envelope.record.clone(), envelope.stamp_key_version, envelope.stamp.clone());
            let again = codec::unwrap(&ours).unwrap();
            assert_eq!((again.record, again.stamp), (envelope.record, envelope.stamp));
        }
    }
});
