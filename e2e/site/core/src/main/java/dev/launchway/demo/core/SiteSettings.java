package dev.launchway.demo.core;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.metatype.annotations.AttributeDefinition;
import org.osgi.service.metatype.annotations.Designate;
import org.osgi.service.metatype.annotations.ObjectClassDefinition;

/** What the OSGi configuration of the active run modes says about this instance. */
@Component(service = SiteSettings.class)
@Designate(ocd = SiteSettings.Config.class)
public class SiteSettings {

    @ObjectClassDefinition(name = "Launchway demo: site settings")
    public @interface Config {

        @AttributeDefinition(name = "Version of the configuration package")
        String version() default "none";

        @AttributeDefinition(name = "Name of the environment, as shown on every page")
        String environment() default "not configured";

        @AttributeDefinition(name = "Sentence below the heading")
        String message() default "";

        @AttributeDefinition(name = "Greeting, usually taken from an environment variable")
        String greeting() default "";

        @AttributeDefinition(name = "Digest of the release that this instance was started from")
        String digest() default "";

        @AttributeDefinition(name = "Name of this instance")
        String instance() default "";
    }

    private final Config config;

    @Activate
    public SiteSettings(Config config) {
        this.config = config;
    }

    public Config config() {
        return config;
    }
}
