# Reads what the package installer and FileVault's importer logged and prints, per package id (or file name, for
# files that the runtime refused): failed|delayed TAB id TAB reason. The installer works in one thread, so a line
# belongs to the package whose extraction began last; a later extraction of the same package starts anew.

function begin(id) { current = id; delete error[id]; delete errors[id]; delete failed[id]; delete delayed[id] }

function clean(text) { gsub(/[\t\r]/, " ", text); return substr(text, 1, 600) }

/\.ZipVaultPackage Extracting / {
  id = $0
  sub(/^.*\.ZipVaultPackage Extracting /, "", id)
  if (sub(/ completed\.$/, "", id)) { current = "" } else { sub(/\.*$/, "", id); begin(id) }
  cause = ""
  next
}

/\.Importer E / {
  if (current != "" && errors[current]++ == 0) {
    text = $0
    sub(/^.*\.Importer E /, "", text)
    error[current] = text
  }
  next
}

/\.PackageTransformer Error while processing / {
  id = $0
  sub(/^.*package-id=/, "", id)
  sub(/[],].*$/, "", id)
  sub(/^:/, "", id)
  text = $0
  sub(/^.*\] due to /, "", text)
  sub(/^.*\) due to /, "", text)
  sub(/, no retry\.$/, "", text)
  failed[id] = text
  delete delayed[id]
  cause = id
  next
}

/\.PackageTransformer Error during / {
  id = $0
  if (match(id, /Package [^ ]+ missing/)) { id = substr(id, RSTART + 8, RLENGTH - 16); failed[id] = "the runtime lost the package after its upload" }
  next
}

/\.PackageTransformer Unable to check content package / {
  id = $0
  sub(/^.*\//, "", id)
  failed[id] = "the runtime does not take the file for a content package"
  cause = id
  next
}

/\.PackageTransformer Delaying installation of / {
  id = $0
  sub(/^.* Delaying installation of /, "", id)
  text = id
  sub(/ due to missing dependency .*$/, "", id)
  sub(/^.* due to missing dependency /, "", text)
  sub(/\.$/, "", text)
  delayed[id] = text
  next
}

# The stack trace below a failure: its last cause is the reason worth telling.
/^[0-9][0-9]\.[0-9][0-9]\.[0-9][0-9][0-9][0-9] / { cause = ""; next }
cause != "" && /^Caused by: / { text = $0; sub(/^Caused by: /, "", text); root[cause] = text; next }
cause != "" && !(cause in root) && /^[A-Za-z0-9_.$]+(Exception|Error)(:|$)/ { root[cause] = $0; next }

END {
  for (id in errors) if (!(id in failed))
    failed[id] = errors[id] " nodes could not be imported"
  for (id in failed) {
    text = failed[id]
    if (id in error) text = errors[id] " import errors, first: " error[id]
    else if (id in root && index(text, root[id]) == 0) text = text " (" root[id] ")"
    name = id
    sub(/\.r[0-9]+\.zip$/, ".zip", name)
    printf "failed\t%s\t%s\n", name, clean(text)
  }
  for (id in delayed) if (!(id in failed)) printf "delayed\t%s\t%s\n", id, clean(delayed[id])
}
