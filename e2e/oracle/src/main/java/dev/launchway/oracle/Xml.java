package dev.launchway.oracle;

import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.Properties;
import java.util.stream.Collectors;

import org.apache.jackrabbit.vault.fs.api.PathFilterSet;
import org.apache.jackrabbit.vault.fs.config.DefaultWorkspaceFilter;

/** What FileVault reads out of a package's two XML files; {@code bad} when it refuses. */
final class Xml {

    private Xml() {
    }

    /** {@code key=value …}, both in hexadecimal, sorted by key. */
    static String properties(String hex) {
        Properties found = new Properties();
        try {
            found.loadFromXML(new ByteArrayInputStream(HexFormat.of().parseHex(hex)));
        } catch (Exception e) {
            return "bad";
        }
        return found.stringPropertyNames().stream().sorted()
                .map(key -> hex(key) + "=" + hex(found.getProperty(key))).collect(Collectors.joining(" "));
    }

    /** {@code root|mode|type …} in document order, the root in hexadecimal. */
    static String filter(String hex) {
        DefaultWorkspaceFilter filter = new DefaultWorkspaceFilter();
        try {
            filter.load(new ByteArrayInputStream(HexFormat.of().parseHex(hex)));
        } catch (Exception e) {
            return "bad";
        }
        return filter.getFilterSets().stream().map(Xml::root).collect(Collectors.joining(" "));
    }

    private static String root(PathFilterSet set) {
        return hex(set.getRoot()) + "|" + set.getImportMode().name().toLowerCase() + "|" + (PathFilterSet.TYPE_CLEANUP.equals(set.getType()) ? "cleanup" : "");
    }

    private static String hex(String text) {
        return HexFormat.of().formatHex(text.getBytes(StandardCharsets.UTF_8));
    }
}
