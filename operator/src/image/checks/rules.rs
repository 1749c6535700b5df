//! The rules as data: id, kind, level by profile, what is checked, what to do, and where the rule comes from.
//!
//! Ids of Cloud Manager's own rules are kept (`cloud-manager.md` §5.1), so that people find them in its documents.

use launchway_crds::step::Severity;
use serde::{Deserialize, Serialize};

/// What kind of fault a rule finds; decides which rating it worsens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Counts into `security_rating`.
    Vulnerability,
    /// Counts into `reliability_rating`.
    Bug,
    /// Counts as an open issue alone.
    Smell,
    /// Says what the build did; no issue.
    Note,
}

impl Kind {
    /// As in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vulnerability => "vulnerability",
            Self::Bug => "bug",
            Self::Smell => "smell",
            Self::Note => "note",
        }
    }
}

/// How grave, in the words of code scanners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Rating E.
    Blocker,
    /// Rating D.
    Critical,
    /// Rating C.
    Major,
    /// Rating B.
    Minor,
    /// Never worsens a rating.
    Info,
}

impl Level {
    /// How grave a finding of this level is (`cloud-manager.md` §2.5); whether a run stops is decided by the metrics made
    /// of all findings.
    const fn severity(self) -> Severity {
        match self {
            Self::Blocker => Severity::Critical,
            Self::Critical | Self::Major => Severity::Important,
            Self::Minor | Self::Info => Severity::Informational,
        }
    }
}

/// Whose rules apply: they judge some faults differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// AEM as a Cloud Service.
    #[default]
    CloudService,
    /// Adobe Managed Services.
    ManagedServices,
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Stable id.
    pub id: RuleId,
    /// Kind of fault.
    pub kind: Kind,
    /// Level for the cloud service.
    pub cloud: Level,
    /// Level for managed services.
    pub managed: Level,
    /// What the rule finds.
    pub finds: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
    /// Who asks for it.
    pub source: &'static str,
}

macro_rules! rules {
    ($($name:ident $kind:ident $cloud:ident $managed:ident $source:literal $finds:literal => $remedy:literal;)+) => {
        /// Stable ids of rules. They are part of the API: never renamed, never reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum RuleId { $(#[doc = $finds] $name),+ }

        /// Every rule, in the order of the documents.
        pub const RULES: &[Rule] = &[$(Rule {
            id: RuleId::$name, kind: Kind::$kind, cloud: Level::$cloud, managed: Level::$managed,
            finds: $finds, remedy: $remedy, source: $source,
        }),+];

        impl RuleId {
            /// The id as written in reports.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }
        }
    };
}

// name  kind  level (cloud service)  level (managed services)  source  what it finds => remedy
rules! {
    // Packages, each for itself.
    BannedPath Bug Critical Blocker "Cloud Manager" "content or a filter root below /libs" => "Overlay it below /apps";
    ConfigAndInstallShouldOnlyContainOsgiNodes Bug Major Major "Cloud Manager" "something else than bundles, packages and configurations in a config or install folder" => "Move it or rename the folder or node";
    ImmutableMutableMixedPackage Smell Minor Minor "Cloud Manager" "one package with roots below /apps and elsewhere" => "Split it into an application and a content package";
    MixedPackageType Bug Major Info "Cloud Manager" "a package of type mixed, or without type and with both kinds of roots" => "Split it, and set packageType to application, content or container";
    SupportedRunmode Smell Minor Minor "Cloud Manager" "a configuration folder with a run mode that is not supported, or in the wrong order" => "Use config, config.<author|publish>, config.<dev|stage|prod> or config.<author|publish>.<dev|stage|prod>";
    ClassicUIAuthoringMode Smell Minor Minor "Cloud Manager" "Classic UI as the default way of authoring" => "Remove the configuration";
    ComponentWithOnlyClassicUIDialog Smell Minor Minor "Cloud Manager" "a component with a Classic UI dialog and none for Touch UI" => "Add cq:dialog (or cq:design_dialog)";
    ReverseReplication Smell Minor Minor "Cloud Manager" "an agent for reverse replication" => "Remove the agent";
    ClientlibProxyResource Bug Minor Minor "Cloud Manager" "a static file outside of `resources` in a client library that is proxied" => "Move the file below the library's folder `resources`";
    StaticTemplateUsage Smell Minor Minor "Cloud Manager" "a static template" => "Use editable templates";
    LegacyFoundationComponentUsage Smell Minor Minor "Cloud Manager" "a component that uses or extends one of /libs/foundation" => "Use the Core Components";
    OverrideOfQueryLimitReads Smell Minor Minor "Cloud Manager" "a configuration that changes queryLimitReads" => "Remove the property";
    FilterXmlModeAnalysis Smell Minor Major "Cloud Manager" "mode replace on a root that other packages share: what this package does not have is deleted" => "Name the folders that belong to this package as roots, or use mode merge";
    PackageTypeMissing Smell Info Info "FileVault" "no packageType" => "Set packageType to application, content or container";
    PackageTypeUnknown Smell Minor Minor "FileVault" "a packageType that FileVault does not know" => "Set packageType to application, content or container";
    PackageTypeContradiction Bug Major Minor "FileVault" "filter roots that the declared type forbids" => "Correct packageType, or move the content to a package of the right type";
    ContainerWithContent Smell Minor Minor "FileVault" "a container with content of its own" => "Move the content to a package that the container embeds";
    ContainerWithDependencies Smell Minor Minor "FileVault" "a container with dependencies; they hold for what is in it too" => "Give the dependencies to the packages in it";
    ApplicationWithHooks Bug Major Major "FileVault" "an install hook in an application package" => "Move the hook to a content package, or do without";
    InstallHook Smell Major Major "FileVault" "an install hook, which runs with all rights when the package is installed" => "Make sure that you know where the hook comes from, or do without";
    AllowIndexDefinitionsMissing Smell Minor Minor "FileVault" "index definitions in a package without allowIndexDefinitions: they are not imported" => "Set allowIndexDefinitions to true in the package's build";
    AccessControlIgnored Smell Minor Minor "FileVault" "access control lists in a package whose acHandling ignores them" => "Set acHandling to merge or merge_preserve, or remove the lists";
    DocviewInvalid Bug Major Major "FileVault" "a document view that is not well-formed XML: its import fails" => "Correct the file";
    EmptyFilter Note Info Info "FileVault" "a filter without roots: installing the package changes nothing" => "Add the roots, or leave the package out";
    RequiresRoot Note Info Info "FileVault" "a package that only an administrator's session may install" => "Check whether it needs requiresRoot";
    RequiresRestart Note Info Info "FileVault" "a package that asks for a restart after its installation" => "Nothing: images start anew anyway";
    SubPackageHandlingUnknown Smell Minor Minor "FileVault" "an option of subPackageHandling that does not exist and means install" => "Use install, add, extract, ignore, force_install or force_extract";
    IdIncomplete Note Info Info "FileVault" "a package without group or version" => "Set group and version";
    BlankDependency Note Info Info "FileVault" "a blank item in a list of dependencies" => "Remove the superfluous comma";
    // Configurations.
    DuplicateOsgiConfigurations Bug Major Major "Cloud Manager" "one configuration twice for the same run modes" => "Keep one of them";
    EnvironmentVariableName Bug Critical Critical "AEM analyser" "a variable or secret whose name is not allowed in a configuration" => "Use letters, digits and _, 2 to 100 characters, not starting with a digit, INTERNAL_ or ADOBE_";
    ConfigurationUnreadable Bug Major Major "Sling" "a .cfg.json that is no JSON object: the configuration is not applied" => "Correct the file";
    // Indexes.
    OakIndexLocation Smell Minor Minor "Cloud Manager" "an index definition that is not directly below /oak:index" => "Move it to /oak:index";
    IndexCompatVersion Smell Minor Minor "Cloud Manager" "an index definition without compatVersion" => "Set compatVersion to 2";
    IndexCompatVersionValue Smell Major Minor "Cloud Manager" "an index definition with another compatVersion than 2" => "Set compatVersion to 2";
    IndexDescendantNodeType Smell Minor Minor "Cloud Manager" "a node in an index definition that is not nt:unstructured" => "Make it nt:unstructured";
    IndexRulesNode Smell Minor Minor "Cloud Manager" "an index definition without indexRules, or with none in it" => "Add indexRules";
    IndexName Smell Minor Minor "Cloud Manager" "an index name that does not end in -custom-NUMBER" => "Name it PRODUCTINDEX-VERSION-custom-NUMBER or PREFIX.NAME-custom-NUMBER";
    IndexValidFullyCustomName Smell Minor Minor "Cloud Manager" "a fully custom index without a prefix" => "Name it PREFIX.NAME-custom-NUMBER";
    IndexType Bug Blocker Minor "Cloud Manager" "an index definition of another type than lucene" => "Set type to lucene";
    IndexSeedProperty Smell Minor Minor "Cloud Manager" "the property seed in an index definition" => "Remove it";
    IndexReindexProperty Smell Minor Minor "Cloud Manager" "the property reindex in an index definition" => "Remove it";
    IndexTikaNode Bug Blocker Blocker "Cloud Manager" "a changed damAssetLucene, lucene or graphqlConfig without tika/config.xml" => "Add tika/config.xml";
    IndexAsyncProperty Bug Blocker Blocker "Cloud Manager" "a lucene index without async" => "Set async to [async, nrt] or [async]";
    IndexUnsupportedAsyncPropertiesCheck Smell Minor Minor "Cloud Manager" "the property async-previous in an index definition" => "Remove it";
    IndexDamAssetLucene Bug Blocker Blocker "Cloud Manager" "a changed damAssetLucene with queryPaths, or without the tag visualSimilaritySearch" => "Remove queryPaths, keep the tag";
    IndexIncludedPathsWithoutQueryPaths Smell Minor Minor "Cloud Manager" "includedPaths and queryPaths of an index that differ" => "Give both the same values";
    IndexFulltextOnGenericType Smell Minor Minor "Cloud Manager" "nodeScopeIndex on nt:base or nt:unstructured without includedPaths and queryPaths" => "Limit the index to paths";
    IndexDetectMultipleActiveVersionsOfSameIndex Smell Minor Minor "Cloud Manager" "several versions of one index in a package" => "Keep the newest";
    IndexNotUnderUIContent Smell Minor Major "Cloud Manager" "index definitions in a content package" => "Move them to an application package";
    CustomFulltextIndexesOfTheDamAssetCheck Smell Minor Major "Cloud Manager" "a full-text index on dam:Asset whose name does not begin with damAssetLucene" => "Change damAssetLucene instead";
    DuplicateNameProperty Smell Minor Major "Cloud Manager" "two properties of one index rule with the same name" => "Keep one of them";
    RestrictIndexCustomization Smell Minor Major "Cloud Manager" "a changed product index that may not be changed" => "Make an index of your own";
    AnalyzerTokenizerConfigCheck Smell Minor Minor "Cloud Manager" "a tokenizer of an analyzer that is not named `tokenizer`" => "Name it tokenizer";
    PathSpacesCheck Smell Minor Minor "Cloud Manager" "a space in a name inside an index definition" => "Remove the space";
    HayStackPropertyCheck Smell Minor Minor "Cloud Manager" "the property haystack0 in an index definition" => "Remove it";
    SameTagInMultipleIndexes Smell Minor Minor "Cloud Manager" "one tag in several indexes" => "Keep the tag in one of them";
    // Packages together.
    PackageOverlaps Bug Major Major "Cloud Manager" "two packages that both replace the same path" => "Give each path to one package";
    OverlappingFilter Smell Minor Minor "FileVault" "two packages that write the same path, at least one without replacing it" => "Give each path to one package, or let one depend on the other";
    DependencyOnContainer Smell Minor Minor "Cloud Manager" "a dependency on a package that only carries bundles, configurations or packages; the cloud service does not register those" => "Depend on the packages in it";
    DuplicatePackage Smell Minor Minor "Cloud Manager" "a package at top level that is embedded in another one too" => "Set cloudManagerTarget=none on the one at top level";
    OlderVersion Note Info Info "FileVault" "a version of a package that is left out because there is a newer one" => "Deliver one version";
    ProvidedDependency Note Info Info "Launchway" "a dependency that the runtime has to bring along" => "Check that the base image has it";
    NotAPackage Note Info Info "Launchway" "an archive in an install folder or in /etc/packages that is no content package: it will not be installed" => "Remove it, or deliver a content package";
    SubPackageHandling Note Info Info "FileVault" "a sub package that its container does not install" => "Nothing, if that is intended";
    NeverInstalled Note Info Info "Launchway" "a package for a service on which its container is never installed" => "Move it or its container";
    // Zips.
    DuplicateEntry Note Info Info "Launchway" "an entry twice with the same content; it is read once" => "Build the package again with its Maven plugin";
    NormalizedNames Note Info Info "Launchway" "two names that look the same (Unicode NFC and NFD)" => "Rename one of them";
    Zip64 Note Info Info "Launchway" "a zip in zip64 form; some Java versions refuse such archives of some writers" => "Build it with the filevault-package-maven-plugin if the runtime refuses it";
    StrayMetadata Note Info Info "FileVault" "package metadata outside of META-INF/vault; it has the same content and is ignored" => "Remove it";
    BackslashNames Note Info Info "Launchway" "a dispatcher zip with backslashes between folders; they are read as /" => "Zip it with / between folders";
    // Dispatcher configurations.
    FilterGlobAllow Vulnerability Critical Critical "Dispatcher validator" "a filter rule that allows requests by /glob (CVE-2016-0957)" => "Use /url, /path, /method, /extension and /selectors";
    FilterAllowsAdmin Vulnerability Critical Critical "Dispatcher validator" "a filter that lets requests to administration tools through" => "Begin the filter with { /type \"deny\" /url \"*\" } and allow what the site needs";
    FarmIncludeName Bug Critical Minor "Dispatcher validator" "a farm that takes a section from another file than the one for it" => "Include the named file or its default_ twin";
    FarmSectionNotIncluded Bug Critical Minor "Dispatcher validator" "renders or allowedClients that do not come from the base's file" => "Include ../renders/default_renders.any and ../cache/default_invalidate.any";
    FarmIncludeUnknown Bug Critical Minor "Dispatcher validator" "an include of a farm in a place where none is allowed" => "Write the content into the farm";
    FarmSyntax Bug Critical Critical "Dispatcher validator" "a farm that cannot be read" => "Correct the file";
    VhostDirective Bug Critical Minor "Dispatcher validator" "a directive of a module that is not on the list" => "Do without the directive";
    VhostInclude Bug Critical Minor "Dispatcher validator" "an Include of a file that is not on the list" => "Include files below conf.d/rewrites, conf.d/variables, conf.d/includes or conf.d/modsec by relative paths";
    VhostHosts Smell Minor Info "Dispatcher validator" "no virtual host for localhost, *.local and *.adobeaemcloud.*: probes and invalidation do not arrive" => "Add the names, or a virtual host with ServerAlias \"*\"";
    VhostDocumentRoot Smell Minor Info "Dispatcher validator" "a DocumentRoot outside of the cache folder" => "Use ${DOCROOT}";
    ImmutableFile Note Info Info "Cloud Manager" "a file that belongs to the base image: the base's is kept" => "Nothing";
    ImmutableFileChanged Smell Minor Minor "Cloud Manager" "a changed file that belongs to the base image: the change has no effect" => "Put the change into a file of your own";
    LegacyDispatcher Smell Minor Info "Dispatcher validator" "the deprecated layout without opt-in/USE_SOURCES_DIRECTLY; it is used as it is" => "Change to the flexible mode";
    OutsideConfiguration Note Info Info "Launchway" "files of a dispatcher zip that are not part of the configuration and left out" => "Leave them out of the zip";
    AbsoluteLink Note Info Info "Launchway" "an absolute link, made relative" => "Make it relative";
    PseudoLink Note Info Info "Dispatcher SDK" "a link that a Windows checkout wrote as a file, made a link again" => "Set core.symlinks=true in Git";
    PseudoLinkDangling Smell Minor Minor "Dispatcher SDK" "a file that looks like a link whose target does not exist; kept as a file" => "Correct the link";
    MoreFindings Note Info Info "Launchway" "findings that are counted and not listed" => "Correct the listed ones first";
}

impl RuleId {
    /// The rule.
    #[must_use]
    pub const fn rule(self) -> &'static Rule {
        // RULES and RuleId come from one list, in one order.
        &RULES[self as usize]
    }

    /// How grave it is in a profile.
    #[must_use]
    pub const fn level(self, profile: Profile) -> Level {
        match profile {
            Profile::CloudService => self.rule().cloud,
            Profile::ManagedServices => self.rule().managed,
        }
    }

    /// The tier in a profile.
    #[must_use]
    pub fn severity(self, profile: Profile) -> Severity {
        self.level(profile).severity()
    }
}

/// The rules as a table in Markdown, for `docs/packages.md`.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(
        "| rule | severity | kind | finds | remedy | asked for by |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for rule in RULES {
        let (cloud, managed) = (rule.cloud.severity(), rule.managed.severity());
        let severity = if cloud == managed {
            cloud.as_str().to_owned()
        } else {
            format!("{} (managed services: {})", cloud.as_str(), managed.as_str())
        };
        let cell = |text: &str| text.replace('|', "\\|");
        out.push_str(&format!(
            "| `{}` | {severity} | {} | {} | {} | {} |\n",
            rule.id.as_str(),
            rule.kind.as_str(),
            cell(rule.finds),
            cell(rule.remedy),
            rule.source
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_finds_its_own_rule() {
        for rule in RULES {
            assert_eq!(rule.id.rule().id, rule.id);
            assert!(!rule.remedy.ends_with('.') && !rule.finds.is_empty() && !rule.remedy.is_empty());
        }
    }

    #[test]
    fn notes_never_count() {
        for rule in RULES.iter().filter(|rule| rule.kind == Kind::Note) {
            assert_eq!((rule.cloud, rule.managed), (Level::Info, Level::Info), "{}", rule.id.as_str());
        }
    }

    #[test]
    fn levels_differ_by_profile_where_cloud_manager_says_so() {
        assert_eq!(RuleId::BannedPath.severity(Profile::CloudService), Severity::Important);
        assert_eq!(RuleId::BannedPath.severity(Profile::ManagedServices), Severity::Critical);
        assert_eq!(RuleId::IndexType.severity(Profile::CloudService), Severity::Critical);
        assert_eq!(RuleId::IndexType.severity(Profile::ManagedServices), Severity::Informational);
    }
}
