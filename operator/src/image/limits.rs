//! Bounds on untrusted input. Every one is checked while data streams, never against a declared size alone.

/// Bounds on archives, metadata and layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries of one archive.
    pub entries: usize,
    /// Bytes of all entry names of one archive together.
    pub name_bytes: usize,
    /// Bytes of one path component.
    pub name_component: usize,
    /// Bytes of one whole entry name.
    pub name_total: usize,
    /// Components of one entry name.
    pub depth: usize,
    /// Unpacked bytes of one entry.
    pub entry_bytes: u64,
    /// Unpacked bytes of one archive.
    pub archive_bytes: u64,
    /// Unpacked bytes per packed byte, for entries above `ratio_floor`.
    pub ratio: u64,
    /// Unpacked size up to which any ratio is accepted.
    pub ratio_floor: u64,
    /// Packages inside packages inside packages …
    pub nesting: usize,
    /// Packages found in one build, nested ones included.
    pub packages: usize,
    /// Unpacked bytes of all packages of one build together, nested ones included.
    pub build_bytes: u64,
    /// Bytes of all `properties.xml` and `filter.xml` of one build together.
    pub metadata_bytes: u64,
    /// Bytes of `properties.xml`.
    pub properties_bytes: u64,
    /// Bytes of `filter.xml`.
    pub filter_bytes: u64,
    /// Files of a dispatcher configuration.
    pub dispatcher_files: usize,
    /// Unpacked bytes of a dispatcher configuration.
    pub dispatcher_bytes: u64,
    /// Layers of one image, the base's included. Container runtimes stop near 127.
    pub layers: usize,
    /// Findings kept in a report; more are counted only.
    pub findings: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 200_000,
            name_bytes: 16 << 20,
            name_component: 255,
            name_total: 1024,
            depth: 60,
            entry_bytes: 2 << 30,
            archive_bytes: 8 << 30,
            ratio: 200,
            ratio_floor: 1 << 20,
            nesting: 8,
            packages: 500,
            build_bytes: 64 << 30,
            metadata_bytes: 64 << 20,
            properties_bytes: 1 << 20,
            filter_bytes: 4 << 20,
            dispatcher_files: 10_000,
            dispatcher_bytes: 16 << 20,
            layers: 100,
            findings: 200,
        }
    }
}
