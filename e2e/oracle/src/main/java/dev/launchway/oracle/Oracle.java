package dev.launchway.oracle;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

import org.apache.jackrabbit.vault.packaging.CyclicDependencyException;
import org.apache.jackrabbit.vault.packaging.Dependency;
import org.apache.jackrabbit.vault.packaging.DependencyUtil;
import org.apache.jackrabbit.vault.packaging.PackageId;
import org.apache.jackrabbit.vault.packaging.Version;
import org.apache.jackrabbit.vault.packaging.VersionRange;

/**
 * One question a line on stdin, fields separated by tabs, the first one its kind; one answer a line on stdout, in the
 * same order. The questions and the form of the answers: operator/tests/oracle/mod.rs.
 */
public final class Oracle {

    private Oracle() {
    }

    public static void main(String[] arguments) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            out.print(answer(line.split("\t", -1)));
            out.print('\n');
        }
        out.flush();
    }

    private static String answer(String[] q) throws Exception {
        switch (q[0]) {
            case "version":
                return Integer.toString(Integer.signum(Version.create(q[1]).compareTo(Version.create(q[2]))));
            case "range":
                try {
                    return VersionRange.fromString(q[1]).isInRange(Version.create(q[2])) ? "in" : "out";
                } catch (RuntimeException e) {
                    return "bad";
                }
            case "dependency":
                try {
                    return Arrays.stream(Dependency.parse(q[1]))
                            .map(d -> d == null ? "blank" : d.getGroup() + "|" + d.getName())
                            .collect(Collectors.joining(" "));
                } catch (RuntimeException e) {
                    return "bad";
                }
            case "match":
                try {
                    Dependency wanted = Dependency.fromString(q[1]);
                    return wanted != null && wanted.matches(new PackageId(q[2], q[3], q[4])) ? "yes" : "no";
                } catch (RuntimeException e) {
                    return "bad";
                }
            case "id":
                try {
                    if (!PackageId.isValid(q[1], q[2], q[3])) {
                        return "illegal";
                    }
                    PackageId id = new PackageId(q[1], q[2], q[3]);
                    return id.getGroup() + "|" + id.getName() + "|" + id.getVersionString();
                } catch (RuntimeException e) {
                    return "illegal";
                }
            case "order":
                return order(q);
            case "zip":
                return ZipReaders.answer(q[1]);
            case "properties":
                return Xml.properties(q[1]);
            case "filter":
                return Xml.filter(q[1]);
            default:
                throw new IllegalArgumentException(q[0]);
        }
    }

    /** Each field is {@code group:name:version>dependencies}. */
    private static String order(String[] q) {
        Map<PackageId, Dependency[]> set = new LinkedHashMap<>();
        for (String field : Arrays.copyOfRange(q, 1, q.length)) {
            String[] parts = field.split(">", 2);
            String[] id = parts[0].split(":", 3);
            List<Dependency> needs = new ArrayList<>();
            for (Dependency d : parts[1].isEmpty() ? new Dependency[0] : Dependency.parse(parts[1])) {
                if (d != null) {
                    needs.add(d);
                }
            }
            set.put(new PackageId(id[0], id[1], id[2]), needs.toArray(new Dependency[0]));
        }
        try {
            return DependencyUtil.resolve(set).stream().map(id -> id.toString()).collect(Collectors.joining(" "));
        } catch (CyclicDependencyException e) {
            return "cycle";
        }
    }
}
