package dev.launchway.demo.core;

import org.apache.sling.api.SlingHttpServletRequest;
import org.apache.sling.api.resource.Resource;
import org.apache.sling.models.annotations.Model;
import org.apache.sling.models.annotations.injectorspecific.OSGiService;
import org.apache.sling.models.annotations.injectorspecific.RequestAttribute;
import org.apache.sling.models.annotations.injectorspecific.SlingObject;
import org.osgi.framework.FrameworkUtil;
import org.osgi.framework.Version;

/**
 * What a page knows about the release that renders it. Code, scripts, configuration and content travel in separate
 * packages; a page shows its release only when all four say the same version, so a half-installed release never looks
 * like a finished one.
 */
@Model(adaptables = SlingHttpServletRequest.class)
public class Site {

    private static final String ROOT = "/content/launchway-demo";

    @OSGiService
    private SiteSettings settings;

    @SlingObject
    private Resource resource;

    @RequestAttribute
    private String scripts;

    public String getCodeVersion() {
        Version version = FrameworkUtil.getBundle(Site.class).getVersion();
        return version.getMajor() + "." + version.getMinor() + "." + version.getMicro();
    }

    public String getScriptsVersion() {
        return scripts;
    }

    public String getConfigVersion() {
        return settings.config().version();
    }

    public String getContentVersion() {
        Resource root = resource.getResourceResolver().getResource(ROOT);
        return root == null ? "none" : root.getValueMap().get("version", "none");
    }

    public boolean isConsistent() {
        String code = getCodeVersion();
        return code.equals(scripts) && code.equals(getConfigVersion()) && code.equals(getContentVersion());
    }

    public String getEnvironment() {
        return settings.config().environment();
    }

    public String getMessage() {
        return settings.config().message();
    }

    public String getGreeting() {
        return settings.config().greeting();
    }

    public String getDigest() {
        return settings.config().digest();
    }

    public String getInstance() {
        return settings.config().instance();
    }
}
