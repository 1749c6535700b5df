package dev.launchway.oracle;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Enumeration;
import java.util.HexFormat;
import java.util.List;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipInputStream;

import org.apache.commons.compress.archivers.zip.ZipArchiveEntry;
import org.apache.commons.compress.archivers.zip.ZipArchiveInputStream;

/** What four readers see in one archive: {@code reader=name:bytes:crc,…} or {@code reader=!why}, separated by tabs. */
final class ZipReaders {

    /** No honest case is larger; a bomb must not stop the oracle. */
    private static final long LIMIT = 1 << 20;

    private ZipReaders() {
    }

    private interface Reader {
        void read(List<String> seen) throws IOException;
    }

    static String answer(String hex) throws IOException {
        byte[] bytes = HexFormat.of().parseHex(hex);
        Path file = Files.createTempFile("oracle", ".zip");
        try {
            Files.write(file, bytes);
            return String.join("\t",
                    "jdk=" + told(seen -> jdkFile(file, seen)),
                    "jdkStream=" + told(seen -> jdkStream(bytes, seen)),
                    "commons=" + told(seen -> commonsFile(file, seen)),
                    "commonsStream=" + told(seen -> commonsStream(bytes, seen)));
        } finally {
            Files.delete(file);
        }
    }

    private static String told(Reader reader) {
        List<String> seen = new ArrayList<>();
        try {
            reader.read(seen);
        } catch (IOException | RuntimeException e) {
            return "!" + String.valueOf(e.getMessage()).replaceAll("[^ -~]", "?").replaceAll("/[^ ]*oracle[0-9]*.zip", "FILE");
        }
        Collections.sort(seen);
        return String.join(",", seen);
    }

    private static void jdkFile(Path file, List<String> seen) throws IOException {
        try (ZipFile zip = new ZipFile(file.toFile())) {
            for (Enumeration<? extends ZipEntry> all = zip.entries(); all.hasMoreElements();) {
                ZipEntry entry = all.nextElement();
                try (InputStream content = zip.getInputStream(entry)) {
                    seen.add(entry(entry.getName(), content));
                }
            }
        }
    }

    private static void jdkStream(byte[] bytes, List<String> seen) throws IOException {
        try (ZipInputStream zip = new ZipInputStream(new ByteArrayInputStream(bytes))) {
            for (ZipEntry entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
                seen.add(entry(entry.getName(), zip));
            }
        }
    }

    private static void commonsFile(Path file, List<String> seen) throws IOException {
        try (org.apache.commons.compress.archivers.zip.ZipFile zip =
                org.apache.commons.compress.archivers.zip.ZipFile.builder().setPath(file).get()) {
            for (Enumeration<ZipArchiveEntry> all = zip.getEntries(); all.hasMoreElements();) {
                ZipArchiveEntry entry = all.nextElement();
                try (InputStream content = zip.getInputStream(entry)) {
                    seen.add(entry(entry.getName(), content));
                }
            }
        }
    }

    private static void commonsStream(byte[] bytes, List<String> seen) throws IOException {
        try (ZipArchiveInputStream zip =
                new ZipArchiveInputStream(new ByteArrayInputStream(bytes), "UTF-8", true, true)) {
            for (ZipArchiveEntry entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
                seen.add(entry(entry.getName(), zip));
            }
        }
    }

    private static String entry(String name, InputStream content) throws IOException {
        CRC32 crc = new CRC32();
        byte[] buffer = new byte[8192];
        long total = 0;
        for (int read = content.read(buffer); read >= 0; read = content.read(buffer)) {
            crc.update(buffer, 0, read);
            total += read;
            if (total > LIMIT) {
                throw new IOException("larger than the oracle reads");
            }
        }
        return HexFormat.of().formatHex(name.getBytes(StandardCharsets.UTF_8)) + ":" + total + ":"
                + Long.toHexString(crc.getValue());
    }
}
