//! The table of the security test: which requests, and which answers betray what.
//!
//! Names are those of `cloud-manager.md §2.5` where the matter is the same. Checks that need a look inside the runtime
//! (deserialization firewall, SSL, script handlers' settings, node names of authorizables) cannot be made from outside
//! and are not here.

use launchway_crds::step::Severity;

/// One check: a metric.
#[derive(Debug)]
pub(super) struct Check {
    /// Name of the metric.
    pub(super) name: &'static str,
    pub(super) severity: Severity,
    /// What is as it should be when it passes.
    pub(super) title: &'static str,
    /// What to do when it fails.
    pub(super) remedy: &'static str,
    pub(super) probes: &'static [Probe],
}

/// One request.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) method: &'static str,
    /// Path and query as they are sent; `{page}` is the page of the test's request.
    pub(super) path: &'static str,
    pub(super) headers: &'static [(&'static str, &'static str)],
    pub(super) login: Option<(&'static str, &'static str)>,
    pub(super) form: Option<&'static str>,
    /// The answer that betrays something.
    pub(super) sign: Sign,
}

/// An answer that betrays something.
#[derive(Debug)]
pub(super) enum Sign {
    /// This status.
    Status(u16),
    /// 2xx with JSON.
    Json,
    /// 2xx with XML that is no page.
    Xml,
    /// 2xx with one of these texts.
    Text(&'static [&'static str]),
    /// Any status with one of these texts.
    AnyText(&'static [&'static str]),
    /// 401 that asks for a log-in to something of this name.
    Realm(&'static [&'static str]),
    /// A redirection to an address with one of these texts.
    Redirect(&'static [&'static str]),
    /// 2xx with a body that begins so.
    Begins(&'static str),
    /// A header.
    Header(&'static str),
    /// A header with a digit in it.
    Digits(&'static str),
    /// A page without any of these headers that contains the text beside it.
    Missing(&'static [(&'static str, &'static str)]),
    /// One of these.
    Either(&'static [Self]),
}

impl Probe {
    pub(super) const fn get(path: &'static str, sign: Sign) -> Self {
        Self { method: "GET", path, headers: &[], login: None, form: None, sign }
    }

    const fn method(method: &'static str, path: &'static str, sign: Sign) -> Self {
        Self { method, path, headers: &[], login: None, form: None, sign }
    }

    const fn post(
        path: &'static str,
        form: &'static str,
        headers: &'static [(&'static str, &'static str)],
        sign: Sign,
    ) -> Self {
        Self { method: "POST", path, headers, login: None, form: Some(form), sign }
    }

    const fn login(user: &'static str, password: &'static str, path: &'static str, sign: Sign) -> Self {
        Self { method: "GET", path, headers: &[], login: Some((user, password)), form: None, sign }
    }

    /// For people: `GET /.json`, with the user when one logs in.
    pub(super) fn name(&self) -> String {
        let user = self.login.map(|(user, _)| format!(" as {user}")).unwrap_or_default();
        format!("{} {}{user}", self.method, self.path)
    }
}

const CONSOLE: Sign = Sign::Either(&[
    Sign::Text(&["Web Console", "felix.webconsole", "Bundle information"]),
    Sign::Realm(&["OSGi Management Console", "Web Console", "Sling", "AEM", "Adobe"]),
    // Sling asks for a log-in by a form, and says in the address what for.
    Sign::Redirect(&["system%2Fconsole", "system%2fconsole"]),
]);
const CRX: Sign = Sign::Text(&["CRXDE", "CRX Package Manager", "Content Explorer", "<crx version"]);
const WHO: &str = "/system/sling/info.sessionInfo.json";
const CURRENT: &str = "/libs/granite/security/currentuser.json";
const ADMIN: Sign = Sign::Text(&["\"userID\":\"admin\"", "\"userID\": \"admin\"", "\"authorizableId\":\"admin\""]);
const AUTHOR: Sign = Sign::Text(&["\"userID\":\"author\"", "\"authorizableId\":\"author\""]);
const REPLICATION: Sign =
    Sign::Text(&["\"userID\":\"replication-receiver\"", "\"authorizableId\":\"replication-receiver\""]);
/// Sling's POST servlet answers `nop` with the status it is told, and changes nothing.
const NOP: &str = ":operation=nop&:nopstatus=418";

/// Every check.
pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "default_login_accounts",
        severity: Severity::Critical,
        title: "nobody logs in with a password that everybody knows",
        remedy: "Change the password of the account, and let the dispatcher deny the path and the Authorization header.",
        probes: &[
            Probe::login("admin", "admin", WHO, ADMIN),
            Probe::login("admin", "admin", CURRENT, ADMIN),
            Probe::login("author", "author", WHO, AUTHOR),
            Probe::login("author", "author", CURRENT, AUTHOR),
            Probe::login("replication-receiver", "replication-receiver", CURRENT, REPLICATION),
            Probe::login("admin", "admin", "/system/console/bundles.json", Sign::Json),
        ],
    },
    Check {
        name: "felix_console",
        severity: Severity::Critical,
        title: "the OSGi console cannot be reached",
        remedy: "Deny /system/* in the farm's /filter.",
        probes: &[
            Probe::get("/system/console", Sign::Either(&[Sign::Redirect(&["/system/console/bundles"]), CONSOLE])),
            Probe::get("/system/console/bundles", CONSOLE),
            Probe::get("/system/console/bundles.json", Sign::Either(&[Sign::Json, CONSOLE])),
            Probe::get("/system/console/configMgr", CONSOLE),
            Probe::get("/system/console/status-slingsettings.txt", Sign::Either(&[Sign::Text(&["Sling ID"]), CONSOLE])),
        ],
    },
    Check {
        name: "sling_get_servlet",
        severity: Severity::Critical,
        title: "the repository cannot be read as JSON or XML",
        remedy: "Deny the selectors and extensions in /filter, and set the Sling GET servlet's maximum depth and renderings.",
        probes: &[
            Probe::get("/.json", Sign::Json),
            Probe::get("/.1.json", Sign::Json),
            Probe::get("/.infinity.json", Sign::Either(&[Sign::Json, Sign::Status(300)])),
            Probe::get("/.tidy.2.json", Sign::Json),
            Probe::get("/content.1.json", Sign::Json),
            Probe::get("/content.infinity.json", Sign::Either(&[Sign::Json, Sign::Status(300)])),
            Probe::get("/content.sysview.xml", Sign::Xml),
            Probe::get("/content.docview.xml", Sign::Xml),
            Probe::get("/content.feed.xml", Sign::Xml),
            Probe::get("/content.xml", Sign::Xml),
            Probe::get("/apps.1.json", Sign::Json),
            Probe::get("/libs.1.json", Sign::Json),
            Probe::get("/conf.1.json", Sign::Json),
            Probe::get("/etc.1.json", Sign::Json),
            Probe::get("/var.1.json", Sign::Json),
            Probe::get("/tmp.1.json", Sign::Json),
            Probe::get("/jcr:system.1.json", Sign::Json),
            Probe::get("/oak:index.1.json", Sign::Json),
        ],
    },
    Check {
        name: "user_profile_default_access",
        severity: Severity::Critical,
        title: "users and groups cannot be read",
        remedy: "Deny /home and the user management's paths in /filter, and read access to /home for everyone.",
        probes: &[
            Probe::get("/home.1.json", Sign::Json),
            Probe::get("/home/users.1.json", Sign::Json),
            Probe::get("/home/users.infinity.json", Sign::Either(&[Sign::Json, Sign::Status(300)])),
            Probe::get("/home/groups.1.json", Sign::Json),
            Probe::get("/system/userManager/user.1.json", Sign::Json),
            Probe::get("/system/userManager/group.1.json", Sign::Json),
            Probe::get("/libs/granite/security/search/authorizables.json", Sign::Json),
            Probe::get("/bin/security/authorizables.json", Sign::Json),
        ],
    },
    Check {
        name: "query_builder",
        severity: Severity::Critical,
        title: "strangers cannot search the repository",
        remedy: "Deny /bin/* in /filter but for what the project needs.",
        probes: &[
            Probe::get("/bin/querybuilder.json?path=/&p.limit=1", Sign::Json),
            Probe::get("/bin/querybuilder.feed?path=/&p.limit=1", Sign::Xml),
            Probe::get("/bin/wcm/search/gql.json?query=path:/", Sign::Json),
            Probe::get("/content.query.json?statement=//*", Sign::Json),
        ],
    },
    Check {
        name: "dispatcher_filter_bypass",
        severity: Severity::Critical,
        title: "no other way of writing a path gets round the filter",
        remedy: "Filter by /path, /selectors, /extension and /suffix instead of /glob or /url, and update the dispatcher module.",
        probes: &[
            Probe::get("//system//console", CONSOLE),
            Probe::get("/system/console;a.css", CONSOLE),
            Probe::get("/system/console/bundles.json;%0aa.css", Sign::Json),
            Probe::get("/%73ystem/console/bundles.json", Sign::Either(&[Sign::Json, CONSOLE])),
            Probe::get("/content/..%2fsystem/console/bundles.json", Sign::Either(&[Sign::Json, CONSOLE])),
            Probe::get("/bin/querybuilder.json;%0aa.css?path=/&p.limit=1", Sign::Json),
            Probe::get("/bin/querybuilder.json/a.css?path=/&p.limit=1", Sign::Json),
            Probe::get("///bin///querybuilder.json?path=/&p.limit=1", Sign::Json),
            Probe::get("/content.1.json/a.css", Sign::Json),
            Probe::get("/content.1.json;a.html", Sign::Json),
            Probe::get("/content.1..json", Sign::Json),
            Probe::get("/content.1.json%00.css", Sign::Json),
        ],
    },
    Check {
        name: "sling_post_servlet",
        severity: Severity::Critical,
        title: "Sling's POST servlet cannot be reached",
        remedy: "Allow POST in /filter only for the paths of the project's own forms.",
        probes: &[
            Probe::post("/", NOP, &[], Sign::Status(418)),
            Probe::post("/content", NOP, &[], Sign::Status(418)),
            Probe::post("/tmp/launchway-security-test", NOP, &[], Sign::Status(418)),
            Probe::post("/content.html", NOP, &[], Sign::Status(418)),
            Probe::post("/content/usergenerated/launchway-security-test", NOP, &[], Sign::Status(418)),
        ],
    },
    Check {
        name: "sling_referrer_filter",
        severity: Severity::Important,
        title: "another site's forms are not accepted",
        remedy: "Configure the Sling Referrer Filter: no empty referrer, and the site's own hosts alone.",
        probes: &[Probe::post(
            "/content/launchway-security-test",
            NOP,
            &[("Referer", "http://attacker.example/form.html"), ("Origin", "http://attacker.example")],
            Sign::Status(418),
        )],
    },
    Check {
        name: "crxde_support",
        severity: Severity::Important,
        title: "CRXDE and the package manager cannot be reached",
        remedy: "Deny /crx/* and /bin/packageservice in /filter, and disable CRXDE outside of development.",
        probes: &[
            Probe::get("/crx/de/index.jsp", CRX),
            Probe::get("/crx/explorer/index.jsp", CRX),
            Probe::get("/crx/explorer/browser/index.jsp", CRX),
            Probe::get("/crx/packmgr/index.jsp", CRX),
            Probe::get("/crx/packmgr/service.jsp?cmd=ls", CRX),
            Probe::get("/bin/cpm/package.list.json", Sign::Json),
            Probe::get("/bin/browser.html/", Sign::Text(&["Resource Editor", "Composum", "browser"])),
        ],
    },
    Check {
        name: "davex_health_check",
        severity: Severity::Important,
        title: "the repository is not served to remote JCR clients",
        remedy: "Deny /crx/server and /server in /filter, and disable the DavEx servlet.",
        probes: &[
            Probe::get("/crx/server/crx.default/jcr:root.1.json", Sign::Json),
            Probe::get("/crx/server/crx.default/jcr:root/.1.json", Sign::Json),
            Probe::get("/server/default/jcr:root.1.json", Sign::Json),
            Probe::get("/server/default/jcr:root/content.json", Sign::Json),
            Probe::get("/server/default/jcr:root/", Sign::Text(&["jcr:root", "Available Resources"])),
            Probe::get("/server.html", Sign::Realm(&["Sling", "Jackrabbit"])),
        ],
    },
    Check {
        name: "webdav_health_check",
        severity: Severity::Important,
        title: "there is no WebDAV",
        remedy: "Allow the methods GET and HEAD alone in /filter, and disable the WebDAV servlet.",
        probes: &[
            Probe::method("OPTIONS", "/", Sign::Header("dav")),
            Probe::method("OPTIONS", "/content", Sign::Header("dav")),
            Probe::method("PROPFIND", "/", Sign::Status(207)),
            Probe::method("PROPFIND", "/content", Sign::Status(207)),
            Probe::method("PROPFIND", "/dav/default", Sign::Status(207)),
            Probe::method("PROPFIND", "/crx/repository/crx.default", Sign::Status(207)),
        ],
    },
    Check {
        name: "http_trace",
        severity: Severity::Important,
        title: "TRACE does not echo requests",
        remedy: "Set TraceEnable off.",
        probes: &[Probe::method("TRACE", "/", Sign::Text(&["TRACE / HTTP"]))],
    },
    Check {
        name: "web_server_configuration",
        severity: Severity::Important,
        title: "pages cannot be framed by another site",
        remedy: "Send X-Frame-Options: SAMEORIGIN, or a Content-Security-Policy with frame-ancestors.",
        probes: &[Probe::get(
            "{page}",
            Sign::Missing(&[
                ("x-frame-options", "sameorigin"),
                ("x-frame-options", "deny"),
                ("content-security-policy", "frame-ancestors"),
            ]),
        )],
    },
    Check {
        name: "cq_html_library_manager_config",
        severity: Severity::Important,
        title: "client libraries cannot be listed",
        remedy: "Deny /libs/*/content/dumplibs* in /filter.",
        probes: &[
            Probe::get("/libs/cq/ui/content/dumplibs.html", Sign::Text(&["Client Libraries", "clientlib"])),
            Probe::get("/libs/granite/ui/content/dumplibs.html", Sign::Text(&["Client Libraries", "clientlib"])),
            Probe::get(
                "/libs/granite/ui/content/dumplibs.rebuild.html",
                Sign::Text(&["Client Libraries", "clientlib"]),
            ),
        ],
    },
    Check {
        name: "example_content_packages",
        severity: Severity::Important,
        title: "no sample sites are installed",
        remedy: "Uninstall the sample packages.",
        probes: &[
            Probe::get("/content/we-retail/us/en.html", Sign::Text(&["We.Retail"])),
            Probe::get("/content/geometrixx/en.html", Sign::Text(&["Geometrixx"])),
            Probe::get("/content/geometrixx-outdoors/en.html", Sign::Text(&["Geometrixx"])),
            Probe::get("/content/starter.html", Sign::Text(&["Apache Sling"])),
        ],
    },
    Check {
        name: "wcm_filter_configuration",
        severity: Severity::Important,
        title: "publish does not show pages as editors see them",
        remedy: "Set the WCM filter's mode to disabled on publish, and deny wcmmode in /filter.",
        probes: &[
            Probe::get("{page}?wcmmode=edit", Sign::Text(&["CQ.WCM.edit", "cq-editable", "<cq data-path="])),
            Probe::get("{page}?wcmmode=design", Sign::Text(&["CQ.WCM.edit", "cq-editable", "<cq data-path="])),
        ],
    },
    Check {
        name: "replication_agents",
        severity: Severity::Important,
        title: "replication agents and their users cannot be read",
        remedy: "Deny /etc/replication in /filter.",
        probes: &[
            Probe::get("/etc/replication.1.json", Sign::Json),
            Probe::get("/etc/replication/agents.publish.1.json", Sign::Json),
            Probe::get("/etc/replication/agents.author.html", Sign::Text(&["Agents on", "replication"])),
            Probe::get("/libs/sling/distribution/services/agents.1.json", Sign::Json),
        ],
    },
    Check {
        name: "cq_dispatcher_configuration",
        severity: Severity::Important,
        title: "strangers cannot flush the cache",
        remedy: "List the publish pods alone in /allowedClients.",
        probes: &[Probe {
            method: "POST",
            path: "/dispatcher/invalidate.cache",
            headers: &[
                ("CQ-Action", "Activate"),
                ("CQ-Handle", "/launchway-security-test"),
                ("CQ-Action-Scope", "ResourceOnly"),
            ],
            login: None,
            form: Some(""),
            sign: Sign::Either(&[Sign::Text(&["<H1>OK</H1>"]), Sign::Begins("OK")]),
        }],
    },
    Check {
        name: "script_source",
        severity: Severity::Critical,
        title: "sources of scripts cannot be read",
        remedy: "Deny /apps and /libs in /filter but for client libraries below /etc.clientlibs.",
        probes: &[
            Probe::get("/libs/foundation/components/page/page.jsp", Sign::Text(&["<%@", "<%--"])),
            Probe::get("/libs/foundation/components/primary/nt/file/GET.jsp", Sign::Text(&["<%@", "<%--"])),
            Probe::get("/libs/sling/servlet/errorhandler/404.jsp", Sign::Text(&["<%@", "<%--"])),
            Probe::get("/apps/sling/servlet/errorhandler/404.html", Sign::Text(&["data-sly-", "<sly"])),
        ],
    },
    Check {
        name: "stack_traces",
        severity: Severity::Important,
        title: "errors do not show the insides",
        remedy: "Let the web server answer errors of publish with pages of its own (DispatcherPassError 1, ErrorDocument).",
        probes: &[
            Probe::get("/launchway-security-test.html", TRACE),
            Probe::get("/content.launchway.security.test.launchway", TRACE),
            Probe::get("/content.999999999999.json", TRACE),
            Probe::get("/content/%E0%A4%A.html", TRACE),
        ],
    },
    Check {
        name: "content_type_options",
        severity: Severity::Informational,
        title: "browsers do not guess types",
        remedy: "Send X-Content-Type-Options: nosniff.",
        probes: &[Probe::get("{page}", Sign::Missing(&[("x-content-type-options", "nosniff")]))],
    },
    Check {
        name: "version_disclosure",
        severity: Severity::Informational,
        title: "servers do not tell their versions",
        remedy: "Set ServerTokens Prod, and unset X-Powered-By.",
        probes: &[Probe::get("{page}", Sign::Digits("server")), Probe::get("{page}", Sign::Header("x-powered-by"))],
    },
];

const TRACE: Sign =
    Sign::AnyText(&["\tat org.apache", "\tat java.", "\tat javax.", "\tat com.day.", "\tat com.adobe."]);

#[cfg(test)]
mod tests {
    use super::*;
    use launchway_crds::step::METRICS_MAX;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_is_sound() {
        let names: BTreeSet<&str> = CHECKS.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), CHECKS.len(), "names are unique");
        assert!(CHECKS.len() <= METRICS_MAX);
        for check in CHECKS {
            assert!(!check.probes.is_empty() && !check.remedy.is_empty(), "{}", check.name);
            assert!(
                crate::gate::metric(
                    crate::gate::Rule {
                        name: check.name,
                        severity: check.severity,
                        comparator: launchway_crds::step::Comparator::Eq,
                        expected: "0"
                    },
                    "0"
                )
                .is_ok()
            );
            for probe in check.probes {
                assert!(probe.path.starts_with('/') || probe.path.starts_with("{page}"), "{}", probe.path);
                assert!(reqwest::Method::from_bytes(probe.method.as_bytes()).is_ok(), "{}", probe.method);
            }
        }
    }

    #[test]
    fn the_documentation_lists_every_check() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tests.md")).unwrap();
        for check in CHECKS {
            let row = format!("| `{}` | {} | {} |", check.name, check.severity.as_str(), check.title);
            assert!(page.contains(&row), "docs/tests.md lacks the row: {row}");
        }
    }

    #[test]
    fn nothing_in_the_table_changes_what_is_tested() {
        for probe in CHECKS.iter().flat_map(|check| check.probes) {
            let harmless = match probe.method {
                "GET" | "OPTIONS" | "PROPFIND" | "TRACE" => true,
                "POST" => probe.form == Some(NOP) || probe.path == "/dispatcher/invalidate.cache",
                _ => false,
            };
            assert!(harmless, "{}", probe.name());
        }
    }
}
