//! The sans-io core of Muster: names, formats, certificates, the device lifecycle and the registrar.
