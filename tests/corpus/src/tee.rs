//! Evidence of confidential guests: reading is total, and what is read twice says the same.

use tee::snp::{REPORT_BYTES, Report, TcbLayout, certificate_table};
use tee::tdx::{Collateral, Quote};

/// A report of SEV-SNP, or the table of certificates that comes with it.
pub(crate) fn report(data: &[u8]) {
    if let Ok(table) = certificate_table(data) {
        assert!(table.iter().all(|entry| entry.len() <= data.len()));
    }
    let Ok(report) = Report::parse(data) else { return };
    assert_eq!(data.len(), REPORT_BYTES);
    let classic = report.layout == TcbLayout::Classic;
    assert!(!classic || report.reported_tcb.fmc == 0);
    assert_eq!(Report::parse(data).as_ref(), Ok(&report));
}

/// A quote of TDX.
pub(crate) fn quote(data: &[u8]) {
    let Ok(quote) = Quote::parse(data) else { return };
    assert!(quote.enclave().is_ok(), "it was read at its whole length");
    let padded = [data, &[0]].concat();
    if let Ok(again) = Quote::parse(&padded) {
        assert_eq!(again, quote, "padding says nothing");
    }
}

/// What Intel says of platforms.
pub(crate) fn collateral(data: &[u8]) {
    let _ = Collateral::parse(data);
}
